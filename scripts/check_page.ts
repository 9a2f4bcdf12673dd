/**
 * Checks the types of the scripts of `graft serve`'s page, which are JavaScript with types in comments
 * for a browser: `deno task page`. Deno's own check knows no documents.
 *
 * Prints one line per problem and ends with 1 if there is any.
 */
import { join } from "@std/path";
import ts from "typescript";

const ROOT = "src/http/page";

const OPTIONS: ts.CompilerOptions = {
  allowJs: true,
  checkJs: true,
  strict: true,
  noEmit: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.esnext.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  types: [],
  skipLibCheck: true,
};

function* scripts(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = join(folder, name);
    if (isDirectory) yield* scripts(path);
    else if (name.endsWith(".js")) yield path;
  }
}

if (import.meta.main) {
  const files = [...scripts(ROOT)].sort();
  const program = ts.createProgram(files, OPTIONS);
  const found = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const text = ts.flattenDiagnosticMessageText(messageText, "\n");
    if (file === undefined) return text;
    const { line, character } = file.getLineAndCharacterOfPosition(start ?? 0);
    return `${file.fileName}:${line + 1}:${character + 1}: ${text}`;
  });
  for (const line of found) console.log(line);
  if (found.length > 0) Deno.exit(1);
  console.log(`${files.length} scripts of the page have sound types`);
}
