/** Selects one of a repository's ONNX models. */
import { UsageError } from "../errors.ts";

/** One ONNX model of a repository. */
export interface Variant {
  /** Its name for `--variant`: `int8` for `onnx/model_int8.onnx`, `model` for `onnx/model.onnx`. */
  readonly name: string;
  /** Path of the `.onnx` file inside the repository. */
  readonly path: string;
}

/** Storage of weights, best first for a language model, most of whose bytes are matrices. */
const FOR_TEXT = ["q4", "int8", "uint8", "q4f16", "fp32", "fp16", "other"] as const;
/** Best first for an encoder, which is small and loses more with 4 bits. */
const FOR_ENCODER = ["int8", "uint8", "q4", "fp32", "q4f16", "fp16", "other"] as const;
type Storage = typeof FOR_TEXT[number];

/** A model's storage, from the file names of exporters. */
function storageOf(path: string): Storage {
  const text = path.toLowerCase();
  if (/bnb4|nf4|fp8|_o[1-4]\.onnx|openvino/.test(text)) return "other";
  if (/q4f16|int4.*fp16|fp16.*int4/.test(text)) return "q4f16";
  if (/q4|int4|4bit/.test(text)) return "q4";
  if (/uint8/.test(text)) return "uint8";
  if (/int8|quantized|q8|8bit/.test(text)) return "int8";
  return /fp16|float16|f16/.test(text) ? "fp16" : "fp32";
}

const baseOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
const folderOf = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

function nameOf(path: string): string {
  const stem = baseOf(path).replace(/\.onnx$/, "");
  const folder = folderOf(path).replace(/^onnx(\/|$)/, "");
  if (stem === "model") return folder === "" ? stem : baseOf(folder);
  const suffix = stem.replace(/^model[_-]/, "");
  return folder === "" ? suffix : `${folder}/${suffix}`;
}

/** All ONNX models among a repository's files; two with the same name are both named by their path. */
export function variantsOf(paths: readonly string[]): readonly Variant[] {
  const models = paths.filter((path) => path.endsWith(".onnx"));
  const named = Map.groupBy(models, nameOf);
  return models.sort().map((path) => {
    const name = nameOf(path);
    return { name: named.get(name)!.length > 1 ? path : name, path };
  });
}

/** Files that mark a repository as a language model. */
const TEXT_FILES = /(^|\/)(generation_config|genai_config)\.json$/;

/**
 * Chooses the model that graft trains and runs best: quantised weights in a form with CPU kernels.
 *
 * @param asked a variant's name, or the path of its file
 * @param source the repository's name, for messages
 * @returns `undefined` if there is no ONNX model
 * @throws {UsageError} for a missing variant; the message lists the existing ones
 */
export function chooseVariant(
  paths: readonly string[],
  asked: string | undefined,
  source: string,
): Variant | undefined {
  const variants = variantsOf(paths);
  if (asked !== undefined) {
    const found = variants.find(({ name, path }) => name === asked || path === asked) ??
      variants.find(({ path }) => storageOf(path) === asked);
    if (found !== undefined) return found;
    const names = variants.map(({ name }) => name).join(", ") || "none: it has no .onnx file";
    throw new UsageError(`${source} has no variant "${asked}"; it has ${names}`);
  }
  const order: readonly Storage[] = paths.some((path) => TEXT_FILES.test(path))
    ? FOR_TEXT
    : FOR_ENCODER;
  const rank = ({ path }: Variant) =>
    order.indexOf(storageOf(path)) +
    // Part of a model that is split over several files: the last choice.
    (/(^|\/)model[^/]*$/.test(path) ? 0 : 10) +
    // Parts of a decoder that read keys of earlier tokens cannot be trained.
    (/_with_past|_merged/.test(path) ? 5 : 0) +
    (/cuda|directml|dml|webgpu|gpu|tensorrt|qnn/i.test(path) ? 100 : 0);
  return variants.reduce<Variant | undefined>(
    (best, variant) => best === undefined || rank(variant) < rank(best) ? variant : best,
    undefined,
  );
}

/** Small files that a model needs: tokenizer, configurations, templates, licences. */
const BESIDE = /^(.*\.(json|jinja|model|spm)|vocab\.txt|merges\.txt|(LICEN[CS]E|NOTICE)[^/]*)$/i;
/** Those of them that belong to weights in other formats. */
const OTHER_FORMAT =
  /(safetensors|\.bin|\.msgpack|\.h5)\.index\.json$|^(trainer_state|training_args)/;

/** A file that holds a model's weights by its name: `model.onnx_data`, `model.onnx_data_1`, `model.onnx.data`. */
function isDataOf(path: string, model: string): boolean {
  return path.startsWith(model) && /^[._]data([._]?\d+)?$/.test(path.slice(model.length));
}

/** The files that a model needs: itself, its data, and small files beside it or at the root. */
export function filesOfVariant(paths: readonly string[], { path: model }: Variant): string[] {
  const folder = folderOf(model);
  // Exports for the web have the models in a subfolder, the other files above it.
  const folders = folder === "onnx" ? ["onnx", ""] : [folder];
  return paths.filter((path) =>
    path === model || isDataOf(path, model) ||
    (folders.includes(folderOf(path)) && BESIDE.test(baseOf(path)) &&
      !OTHER_FORMAT.test(baseOf(path)))
  );
}
