/**
 * Checks who imports whom, that no files import each other, and that pure folders stay pure:
 * `deno task layers`.
 *
 * Prints one line per violation, as `file:line: what`, and ends with 1 if there is any.
 */
import { importCycles, importedPath, importsOf } from "./import_cycles.ts";
import { sourceFiles } from "./source_files.ts";

/** What each layer may import besides itself, the common files and packages; `undefined`: anything. */
const MAY_IMPORT: Readonly<Record<string, readonly string[] | undefined>> = {
  "ffi": [],
  "src/config": [],
  "src/graph": [],
  "src/protobuf": [],
  "src/onnx": ["src/protobuf", "src/graph", "src/ops"],
  "src/safetensors": ["src/graph"],
  "src/quant": ["src/graph"],
  "src/ops": ["src/graph"],
  "src/autodiff": ["src/graph", "src/ops"],
  "src/linalg": [],
  "src/analysis": ["src/linalg"],
  "src/search": ["src/linalg", "src/analysis"],
  "src/lora": ["src/graph", "src/linalg", "src/ops", "src/quant", "src/safetensors"],
  "src/plan": ["src/graph", "src/ops", "src/autodiff"],
  "src/data": ["src/config", "src/graph", "src/system"],
  "src/system": ["ffi"],
  "src/runtime": ["ffi", "src/config", "src/graph", "src/ops", "src/onnx", "src/system"],
  "src/hub": ["src/onnx", "src/lora", "src/system"],
  "src/eval": ["src/graph", "src/plan", "src/data", "src/runtime"],
  "src/model": [
    "src/graph",
    "src/ops",
    "src/onnx",
    "src/safetensors",
    "src/quant",
    "src/lora",
    "src/plan",
    "src/data",
    "src/system",
    "src/runtime",
    "src/eval",
    "src/hub",
  ],
  "src/train": [
    "src/config",
    "src/graph",
    "src/ops",
    "src/safetensors",
    "src/lora",
    "src/plan",
    "src/data",
    "src/system",
    "src/runtime",
    "src/eval",
  ],
  "src/serve": ["src/graph", "src/plan", "src/data", "src/runtime", "src/eval"],
  "src/doctor": ["src/config", "src/graph", "src/ops", "src/system", "src/runtime"],
  "src/distributed": ["ffi", "src/config", "src/graph", "src/runtime", "src/train"],
  "src/finetune": [
    "src/distributed",
    "src/config",
    "src/graph",
    "src/ops",
    "src/kernels",
    "src/lora",
    "src/plan",
    "src/data",
    "src/system",
    "src/runtime",
    "src/hub",
    "src/eval",
    "src/model",
    "src/train",
  ],
  "src/kernels": [
    "src/graph",
    "src/ops",
    "src/lora",
    "src/plan",
    "src/system",
    "src/runtime",
    "src/train",
  ],
  "src/bench": [
    "src/graph",
    "src/lora",
    "src/plan",
    "src/data",
    "src/runtime",
    "src/eval",
    "src/train",
    "src/serve",
  ],
  "src/tasks": [
    "src/distributed",
    "src/analysis",
    "src/search",
    "src/config",
    "src/graph",
    "src/linalg",
    "src/ops",
    "src/quant",
    "src/lora",
    "src/plan",
    "src/data",
    "src/system",
    "src/runtime",
    "src/eval",
    "src/hub",
    "src/model",
    "src/train",
    "src/serve",
    "src/kernels",
    "src/finetune",
  ],
  "src/jobs": ["src/train", "src/system"],
  "src/http": ["src/data", "src/system", "src/serve", "src/finetune", "src/tasks", "src/jobs"],
  "src/service": [
    "src/data",
    "src/system",
    "src/runtime",
    "src/model",
    "src/train",
    "src/serve",
    "src/tasks",
    "src/jobs",
    "src/http",
  ],
  "src/fleet": [
    "src/config",
    "src/protobuf",
    "src/graph",
    "src/safetensors",
    "src/linalg",
    "src/lora",
    "src/data",
    "src/system",
    "src/model",
    "src/train",
    "src/finetune",
    "src/jobs",
    "src/tasks",
    "src/service",
  ],
  "src/cli": undefined,
};

/**
 * Layers whose files reach nothing but their arguments: no `Deno`, no I/O. Of Node's modules only
 * `node:crypto` is pure: its digests need no permission.
 */
const PURE = new Set([
  "src/config",
  "src/graph",
  "src/protobuf",
  "src/onnx",
  "src/safetensors",
  "src/quant",
  "src/ops",
  "src/autodiff",
  "src/linalg",
  "src/analysis",
  "src/search",
  "src/lora",
  "src/plan",
]);

/** Files of no layer that every layer of `src` may import. */
const COMMON = new Set([
  "src/errors.ts",
  "src/format.ts",
  "src/records.ts",
  "src/random.ts",
  "src/statistics.ts",
  "src/version.ts",
]);

/** The layer of a path from the root, `undefined` for none. */
function layerOf(path: string): string | undefined {
  const [top, second] = path.split("/");
  if (top === "ffi") return "ffi";
  return top === "src" && path.split("/").length > 2 ? `src/${second}` : undefined;
}

/** Comments become spaces, so that line numbers stay. */
function withoutComments(source: string): string {
  const blank = (text: string) => text.replace(/[^\n]/g, " ");
  return source.replace(/\/\*[\s\S]*?\*\//g, blank).replace(/(^|[^:"'`])\/\/.*$/gm, blank);
}

const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*)"([^"]+)"/g;
const HOST_API = /\bDeno\s*\.|\bfetch\s*\(|\bnew\s+(?:Worker|WebSocket)\b|"node:(?!crypto")[^"]+"/g;

/** What one file does that its layer must not, as `file:line: what`. */
export function violationsOf(path: string, source: string): string[] {
  const layer = layerOf(path);
  if (layer === undefined) return [];
  if (!(layer in MAY_IMPORT)) {
    return [`${path}:1: ${layer} is no layer that scripts/check_layers.ts knows`];
  }
  const code = withoutComments(source);
  const place = (index: number) => `${path}:${code.slice(0, index).split("\n").length}`;
  const found: string[] = [];
  const allowed = MAY_IMPORT[layer];
  for (const match of code.matchAll(IMPORT)) {
    if (!match[1].startsWith(".") || allowed === undefined) continue;
    const target = importedPath(path, match[1]);
    const other = layerOf(target);
    if (
      other === layer || (layer !== "ffi" && COMMON.has(target)) ||
      (other && allowed.includes(other))
    ) continue;
    found.push(`${place(match.index)}: ${layer} must not import ${target}`);
  }
  if (PURE.has(layer)) {
    for (const match of code.matchAll(HOST_API)) {
      found.push(`${place(match.index)}: ${layer} is pure and must not use ${match[0].trim()}`);
    }
  }
  return found;
}

if (import.meta.main) {
  const files = [...sourceFiles("ffi"), ...sourceFiles("src")];
  const found = files.flatMap((path) => violationsOf(path, Deno.readTextFileSync(path)));
  const imports = new Map(
    files.map((path) => [path, importsOf(path, withoutComments(Deno.readTextFileSync(path)))]),
  );
  found.push(...importCycles(imports).map((group) => `${group.join(", ")} import each other`));
  for (const line of found.sort()) console.log(line);
  if (found.length > 0) Deno.exit(1);
  console.log(`${files.length} files keep to their layers, and none import each other`);
}
