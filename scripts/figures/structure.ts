/**
 * The structure of the code: files and lines of each layer, the longest functions, functions with more
 * than five parameters, import cycles, tables of operator names outside `src/ops`, exports that nothing
 * imports, and the number of files outside `src/ops` that name an operator. Prints a JSON object.
 *
 * usage: deno run -A scripts/figures/structure.ts [ROOT] (default: this checkout; another one to compare)
 */
import { join, relative } from "@std/path";
import ts from "typescript";
import { allRules } from "../../src/ops/registry.ts";
import { importCycles } from "../import_cycles.ts";
import { sourceFiles } from "../source_files.ts";

/** Names in a row that make a table of operators. */
const TABLE = 3;
const LONGEST = 10;
const MOST_PARAMETERS = 5;

const root = Deno.realPathSync(Deno.args[0] ?? ".");

const sources = new Map(
  ["mod.ts", "ffi", "src", "scripts", "tests"].flatMap((part) => {
    const path = join(root, part);
    return part.endsWith(".ts") ? [path] : [...sourceFiles(path)];
  }).map((path) => {
    const text = Deno.readTextFileSync(path);
    return [relative(root, path), ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)];
  }),
);
const isProduct = (path: string) => /^(mod\.ts|ffi\/|src\/)/.test(path);
const layerOf = (path: string) =>
  path.split("/").slice(0, path.startsWith("src/") ? 2 : 1).join("/");
const linesOf = (node: ts.Node) => node.getText().split("\n").length;

function* within(node: ts.Node): Generator<ts.Node> {
  yield node;
  for (const child of node.getChildren()) yield* within(child);
}

interface Import {
  readonly path: string;
  readonly names: readonly string[];
  /** Whether it is loaded only when it is needed. */
  readonly isLate?: boolean;
}

/** What a file imports or exports on from others of the project. */
function importsOf(path: string, source: ts.SourceFile): readonly Import[] {
  const late = [...within(source)].flatMap((node): readonly Import[] => {
    const isImport = ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword;
    const from = isImport ? node.arguments[0] : undefined;
    if (from === undefined || !ts.isStringLiteral(from)) return [];
    return [{
      path: relative(root, join(root, path, "..", from.text)),
      names: ["*"],
      isLate: true,
    }];
  });
  return late.concat(source.statements.flatMap((statement): readonly Import[] => {
    if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) return [];
    const from = statement.moduleSpecifier;
    if (from === undefined || !ts.isStringLiteral(from) || !from.text.startsWith(".")) return [];
    const target = relative(root, join(root, path, "..", from.text));
    const isImport = ts.isImportDeclaration(statement);
    const clause = isImport ? statement.importClause : undefined;
    const named = isImport ? clause?.namedBindings : statement.exportClause;
    const elements = named !== undefined && (ts.isNamedImports(named) || ts.isNamedExports(named))
      ? [...named.elements]
      : undefined;
    return [{
      path: target,
      names: elements?.map(({ propertyName, name }) => (propertyName ?? name).text) ?? ["*"],
    }];
  }));
}

const imports = new Map([...sources].map(([path, source]) => [path, importsOf(path, source)]));

interface FunctionSize {
  readonly name: string;
  readonly path: string;
  readonly lines: number;
  readonly parameters: number;
}

const functions: FunctionSize[] = [];
const tables: string[] = [];
const operators = new Set(allRules().map(({ opType }) => opType));
const naming = new Map<string, Set<string>>();
for (const [path, source] of sources) {
  if (!isProduct(path)) continue;
  for (const node of within(source)) {
    if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) {
      const name = node.name?.getText() ??
        (ts.isVariableDeclaration(node.parent) ? node.parent.name.getText() : "(anonymous)");
      functions.push({ name, path, lines: linesOf(node), parameters: node.parameters.length });
    }
    if (path.startsWith("src/ops/")) continue;
    if (ts.isStringLiteral(node) && operators.has(node.text)) {
      const files = naming.get(node.text) ?? new Set();
      naming.set(node.text, files.add(path));
    }
    if (ts.isArrayLiteralExpression(node) && tableOf(node).length >= TABLE) {
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      tables.push(`${path}:${line}: ${tableOf(node).join(" ")}`);
    }
  }
}

/** Operators that an array's own elements, or their first elements, name. */
function tableOf({ elements }: ts.ArrayLiteralExpression): readonly string[] {
  return elements.flatMap((element) => {
    const first = ts.isArrayLiteralExpression(element) ? element.elements[0] : element;
    return first !== undefined && ts.isStringLiteral(first) ? first.text.split(" ") : [];
  }).filter((name) => operators.has(name));
}

const read = new Map<string, Set<string>>();
for (const list of imports.values()) {
  for (const { path, names } of list) {
    const known = read.get(path) ?? new Set();
    for (const name of names) known.add(name);
    read.set(path, known);
  }
}

/** Exported names; a type that another declaration of the file uses belongs to that one's signature. */
function exportsOf(source: ts.SourceFile): readonly string[] {
  const uses = new Map<string, number>();
  for (const node of within(source)) {
    if (ts.isIdentifier(node)) uses.set(node.text, (uses.get(node.text) ?? 0) + 1);
  }
  return source.statements.flatMap((statement) => {
    const isExported = ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (!isExported) return [];
    if (ts.isVariableStatement(statement)) {
      return statement.declarationList.declarations.flatMap(({ name }) =>
        ts.isIdentifier(name)
          ? [name.text]
          : name.elements.flatMap((element) =>
            ts.isBindingElement(element) ? [element.name.getText()] : []
          )
      );
    }
    if (!("name" in statement) || statement.name === undefined) return [];
    const name = (statement.name as ts.Identifier).text;
    const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
    return isType && uses.get(name)! > 1 ? [] : [name];
  });
}

const unused = [...sources].filter(([path]) => isProduct(path) && path !== "mod.ts")
  .flatMap(([path, source]) => {
    const names = read.get(path) ?? new Set();
    return names.has("*") ? [] : exportsOf(source).filter((name) => !names.has(name))
      .map((name) => `${path}: ${name}`);
  });

const layers = new Map<string, { files: number; lines: number }>();
for (const [path, source] of sources) {
  const sum = layers.get(layerOf(path)) ?? { files: 0, lines: 0 };
  const lines = source.getLineStarts().length;
  layers.set(layerOf(path), { files: sum.files + 1, lines: sum.lines + lines });
}

const counts = [...operators].map((name) => naming.get(name)?.size ?? 0);
console.log(JSON.stringify(
  {
    layers: Object.fromEntries(layers),
    longest_functions: functions.toSorted((a, b) => b.lines - a.lines).slice(0, LONGEST),
    many_parameters: functions.filter(({ parameters }) => parameters > MOST_PARAMETERS),
    import_cycles: importCycles(
      new Map(
        [...imports].filter(([path]) => isProduct(path))
          .map(([path, list]) => [path, list.filter((one) => !one.isLate).map((one) => one.path)]),
      ),
    ),
    operator_tables_outside_ops: tables,
    files_that_name_an_operator: {
      mean: counts.reduce((sum, count) => sum + count, 0) / counts.length,
      most: Math.max(...counts),
    },
    unused_exports: unused,
  },
  null,
  2,
));
