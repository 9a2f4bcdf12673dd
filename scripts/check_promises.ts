/**
 * Checks that no promise is left to itself: `deno task promises`. Work that nobody waits for may be cut by the
 * end of the process, or of a test, and its error belongs to nobody.
 *
 * A statement that makes a promise must wait for it, handle its failure with `catch(…)` or `then(…, …)`, or
 * say with `void` that it goes on by itself.
 *
 * Prints one line per promise, as `file:line: statement`, and ends with 1 if there is any.
 */
import { fromFileUrl, resolve } from "@std/path";
import ts from "typescript";
import { sourceFiles } from "./source_files.ts";

/** Folders whose files are checked. */
const FOLDERS = ["src", "ffi", "scripts", "tests"];
/** Name under which the compiler finds Deno's own types. */
const DENO_TYPES = resolve("deno_types.d.ts");

const OPTIONS: ts.CompilerOptions = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.esnext.d.ts"],
  types: [],
};

/** A statement whose promise nobody waits for. */
export interface FloatingPromise {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly text: string;
}

/**
 * Finds the promises in files that nobody waits for.
 *
 * @param imports where names of packages lead, as in `deno.json`
 * @param denoTypes declarations of Deno's own functions
 */
export function floatingPromises(
  files: readonly string[],
  imports: Readonly<Record<string, string>>,
  denoTypes: string,
): readonly FloatingPromise[] {
  const options = { ...OPTIONS, baseUrl: resolve("."), paths: pathsOf(imports) };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (path) => path === DENO_TYPES || fileExists(path);
  host.getSourceFile = (path, language) =>
    path === DENO_TYPES
      ? ts.createSourceFile(path, denoTypes, language)
      : getSourceFile(path, language);
  const program = ts.createProgram([...files, DENO_TYPES], options, host);
  const checker = program.getTypeChecker();
  return files.flatMap((path) => {
    const file = program.getSourceFile(path)!;
    const found: FloatingPromise[] = [];
    const visit = (node: ts.Node) => {
      if (ts.isExpressionStatement(node) && floats(node.expression, checker)) {
        const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
        const text = node.getText(file).replace(/\s+/g, " ");
        found.push({ file: path, line: line + 1, text });
      }
      ts.forEachChild(node, visit);
    };
    visit(file);
    return found;
  });
}

function floats(expression: ts.Expression, checker: ts.TypeChecker): boolean {
  // What is kept in a variable may be waited for later.
  if (ts.isBinaryExpression(expression) && isAssignment(expression.operatorToken.kind)) {
    return false;
  }
  return isPromise(checker.getTypeAtLocation(expression)) && !isHandled(expression);
}

const isAssignment = (kind: ts.SyntaxKind) =>
  ts.SyntaxKind.FirstAssignment <= kind && kind <= ts.SyntaxKind.LastAssignment;

const isPromise = (type: ts.Type): boolean =>
  type.isUnion()
    ? type.types.some(isPromise)
    : ["Promise", "PromiseLike"].includes(type.getSymbol()?.name ?? "");

/** Whether its failure is handled: after that, `finally(…)` may follow. */
function isHandled(expression: ts.Expression): boolean {
  if (!ts.isCallExpression(expression) || !ts.isPropertyAccessExpression(expression.expression)) {
    return false;
  }
  const { name, expression: before } = expression.expression;
  const count = expression.arguments.length;
  if (name.text === "finally") return isHandled(before);
  return (name.text === "catch" && count === 1) || (name.text === "then" && count === 2);
}

/** Where the files of packages lie. */
function pathsOf(imports: Readonly<Record<string, string>>): Record<string, string[]> {
  const paths: Record<string, string[]> = {};
  for (const [name, specifier] of Object.entries(imports)) {
    const found = /^npm:((?:@[^/]+\/)?[^/@]+)@[^/]+(\/.*)?$/.exec(specifier);
    if (found !== null) paths[name] = [`node_modules/${found[1]}${found[2] ?? ""}`];
  }
  return paths;
}

/** Declarations of Deno's own functions. */
export function denoTypes(): string {
  const { stdout } = new Deno.Command(Deno.execPath(), { args: ["types"] }).outputSync();
  return new TextDecoder().decode(stdout);
}

if (import.meta.main) {
  Deno.chdir(fromFileUrl(new URL("..", import.meta.url)));
  const { imports } = JSON.parse(Deno.readTextFileSync("deno.json"));
  const files = FOLDERS.flatMap((folder) => [...sourceFiles(folder)]).sort();
  const found = floatingPromises(files, imports, denoTypes());
  for (const { file, line, text } of found) console.log(`${file}:${line}: ${text.slice(0, 100)}`);
  if (found.length > 0) Deno.exit(1);
  console.log(`No promise of ${files.length} files is left to itself`);
}
