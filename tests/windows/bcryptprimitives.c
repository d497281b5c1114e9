/*
 * Stands in for the bcryptprimitives.dll of Windows 10, which wine 8 lacks. For tests only: the bundle does not
 * carry it, because every Windows that it is for has the real one.
 */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    return RtlGenRandom(data, (ULONG)length);
}
