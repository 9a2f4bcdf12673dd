/** The weights of a model as it was before it was quantised, by module path. */
import { join } from "@std/path";
import { BadInputError } from "../errors.ts";
import { isFloating } from "../graph/dtype.ts";
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import { indexGraph } from "../lora/graph_index.ts";
import { findModules, type LinearModule } from "../lora/modules.ts";
import { weightValues } from "../lora/stored_matrix.ts";
import { decodeSafetensors } from "../safetensors/mod.ts";
import { openMapped } from "../system/mapped_file.ts";
import { findModelFile } from "./find_model.ts";
import { loadOnnx } from "./load_onnx.ts";

/** Weights that can be looked up; disposing of it closes their files. */
export interface FloatWeights extends Disposable {
  /**
   * The weight of a layer, float32 [out, in].
   *
   * @throws {BadInputError} if the model has no such layer, or one of another shape
   */
  weightOf(module: Pick<LinearModule, "path" | "inFeatures" | "outFeatures">): Tensor;
}

/**
 * Opens a model's float weights.
 *
 * @param path an ONNX model as other verbs take it, a `.safetensors` file, or a folder with such files, as
 *   transformers saves them
 * @throws {BadInputError | StorageError} if it cannot be read
 */
export function openFloatWeights(path: string): FloatWeights {
  const files = safetensorsAt(path);
  return files.length > 0 ? openSafetensors(path, files) : openOnnx(path);
}

function safetensorsAt(path: string): readonly string[] {
  if (path.endsWith(".safetensors")) return [path];
  try {
    return [...Deno.readDirSync(path)]
      .filter(({ name, isDirectory }) => !isDirectory && name.endsWith(".safetensors"))
      .map(({ name }) => join(path, name))
      .sort();
  } catch {
    return []; // no folder: whoever looks for an ONNX model says what is wrong
  }
}

function openSafetensors(path: string, files: readonly string[]): FloatWeights {
  using opened = new DisposableStack();
  const tensors = new Map<string, Tensor>();
  for (const file of files) {
    const { bytes } = opened.use(openMapped(file));
    const decoded = decodeSafetensors(bytes, { file, finite: false });
    for (const [name, tensor] of decoded.tensors) tensors.set(name, tensor);
  }
  const kept = opened.move();
  return {
    weightOf: (module) => {
      const [name, found] = namedAlike(tensors, `${module.path}.weight`, path);
      if (!isFloating(found.dtype)) {
        throw new BadInputError(
          `${path}: tensor "${name}" must hold floats: current type is ${found.dtype}`,
        );
      }
      checkShape(path, module, found.dims);
      return found.dtype === "float32" ? found : float32(found.dims, toNumbers(found));
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/**
 * The tensor of a name. Checkpoints of a model without its head lack the first component of the path
 * (`model.`, `bert.`), and graphs of one have paths without it.
 *
 * @throws {BadInputError} if there is none, or more than one
 */
function namedAlike(
  tensors: ReadonlyMap<string, Tensor>,
  name: string,
  where: string,
): readonly [string, Tensor] {
  const exact = tensors.get(name);
  if (exact !== undefined) return [name, exact];
  const alike = [...tensors].filter(([other]) =>
    other.endsWith(`.${name}`) || other === name.slice(name.indexOf(".") + 1)
  );
  if (alike.length === 1) return alike[0];
  throw new BadInputError(
    alike.length === 0
      ? `${where}: it has no tensor "${name}": it must be the base before it was quantised`
      : `${where}: tensors ${alike.slice(0, 3).map(([other]) => `"${other}"`).join(", ")} could ` +
        `each be "${name}"`,
  );
}

function openOnnx(path: string): FloatWeights {
  const loaded = loadOnnx(findModelFile(path));
  const index = indexGraph(loaded.model.graph);
  const modules = new Map(findModules(loaded.model).map((module) => [module.path, module]));
  return {
    weightOf: (wanted) => {
      const module = modules.get(wanted.path);
      if (module === undefined) {
        throw new BadInputError(
          `${path}: it has no layer "${wanted.path}": it must be the base before it was quantised`,
        );
      }
      checkShape(path, wanted, [module.outFeatures, module.inFeatures]);
      return weightValues(index, module);
    },
    [Symbol.dispose]: () => loaded[Symbol.dispose](),
  };
}

function checkShape(
  where: string,
  { path, outFeatures, inFeatures }: Pick<LinearModule, "path" | "inFeatures" | "outFeatures">,
  dims: readonly number[],
): void {
  if (dims.length === 2 && dims[0] === outFeatures && dims[1] === inFeatures) return;
  throw new BadInputError(
    `${where}: the weight of "${path}" must be [${outFeatures}, ${inFeatures}], as in the base: ` +
      `current shape is [${dims.join(", ")}]`,
  );
}
