/*
 * python.exe of the assembled runtime: it runs the CPython DLL that lies beside it.
 *
 * It replaces CPython's own python.exe, which no package of the Python index contains. The DLL is loaded by its
 * full path, so that neither PATH nor the current directory can put another DLL in its place. Py_Main reads
 * pythonXY._pth beside the DLL, which also makes it ignore the environment variables and the user's site-packages.
 * No C runtime is linked: the .exe contains only this file.
 */
#include <windows.h>
#include <shellapi.h>

typedef int (*py_main_function)(int argc, wchar_t **argv);

static wchar_t path[32768]; /* the longest path that Windows knows */

static int fail(const char *message, DWORD length) {
    DWORD written;
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), message, length, &written, NULL);
    return 103; /* the exit code of CPython's own launcher when it finds no Python */
}
#define FAIL(message) fail(message "\r\n", sizeof(message "\r\n") - 1)

static int run(void) {
    DWORD length = GetModuleFileNameW(NULL, path, ARRAYSIZE(path));
    while (length > 0 && path[length - 1] != L'\\')
        length--;
    if (length == 0 || length + ARRAYSIZE(PYTHON_DLL) > ARRAYSIZE(path))
        return FAIL("python.exe: the folder from which it was started cannot be determined");
    lstrcpyW(path + length, PYTHON_DLL);

    HMODULE python = LoadLibraryExW(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    if (python == NULL)
        return FAIL("python.exe: the Python DLL beside it cannot be loaded; unpack the whole bundle again");
    py_main_function py_main = (py_main_function)(void *)GetProcAddress(python, "Py_Main");
    int argc;
    wchar_t **argv = CommandLineToArgvW(GetCommandLineW(), &argc);
    if (py_main == NULL || argv == NULL)
        return FAIL("python.exe: the Python DLL beside it is not CPython's");
    return py_main(argc, argv);
}

void entry(void) {
    ExitProcess((UINT)run());
}
