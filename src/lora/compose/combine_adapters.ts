/** A new adapter from several, or a smaller one from one. */
import { BadInputError } from "../../errors.ts";
import { firstNonFinite } from "../../graph/finite.ts";
import { float32, toNumbers } from "../../graph/tensor.ts";
import { type Matrix, matrixOf } from "../../linalg/matrix.ts";
import { Random } from "../../random.ts";
import type { Adapter } from "../adapter_files.ts";
import { loraScale } from "../config.ts";
import type { LoraWeights } from "../lora_weights.ts";
import type { WeightedAdapter } from "../merge/adapters.ts";
import { PatternValues } from "../pattern.ts";
import { checkCombinable } from "./check_adapters.ts";
import { checkCombination, type Combination } from "./combination.ts";
import { type CombinedUpdate, combineModule } from "./combine_module.ts";

/** A combined adapter. */
export interface CombinedAdapter {
  readonly adapter: Omit<Adapter, "card">;
  /** Singular values of each module's update before truncation, for the types that end in `svd`. */
  readonly spectra: ReadonlyMap<string, Float64Array>;
}

/**
 * Combines adapters of one base.
 *
 * The new adapter has one rank and a scale of 1, whatever ranks, alphas and patterns the others have;
 * modules of a smaller rank get zeros for the rest.
 *
 * @param beforeModule called before each module, and waited for: what it throws ends the work
 * @throws {ParameterError} for settings that the type does not have
 * @throws {BadInputError | UsageError} for adapters that cannot be combined
 */
export async function combineAdapters(
  adapters: readonly WeightedAdapter[],
  combination: Combination,
  beforeModule: (path: string, done: number, total: number) => Promise<void> = async () => {},
): Promise<CombinedAdapter> {
  checkCombination(combination);
  checkCombinable(adapters);
  const updates = updatesByModule(adapters);
  const most = combination.rank ??
    Math.max(...adapters.flatMap(({ adapter }) => ranksOf(adapter)), 1);
  const random = Random.fromSeed(combination.seed);
  const combined = new Map<string, LoraWeights>();
  const spectra = new Map<string, Float64Array>();
  for (const [path, parts] of updates) {
    await beforeModule(path, combined.size, updates.size);
    try {
      // Doubles of one module at a time.
      const exact = parts.map(({ weights: { a, b }, ...rest }) => ({
        a: asMatrix(a),
        b: asMatrix(b),
        ...rest,
      }));
      const update = combineModule(exact, combination, most, { ...combination, random });
      combined.set(path, asFloat32(path, update));
      if (update.singularValues !== undefined) spectra.set(path, update.singularValues);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new BadInputError(
        `Cannot combine module "${path}": ${error.message}; use cat or svd`,
        { cause: error },
      );
    }
  }
  const rank = Math.max(1, ...[...combined.values()].map(({ a }) => a.dims[0]));
  const [{ adapter: first }] = adapters;
  const head = adapters.find(({ adapter }) => adapter.head !== undefined)?.adapter.head;
  return {
    adapter: {
      lora: new Map([...combined].map(([path, weights]) => [path, padded(weights, rank)])),
      saved: new Map(adapters.flatMap(({ adapter }) => [...adapter.saved])),
      ...(head === undefined ? {} : { head }),
      config: {
        ...first.config,
        rank,
        alpha: rank,
        rankPattern: {},
        alphaPattern: {},
        useRslora: false,
        gaussian: false,
        targetModules: targetsOf(adapters, [...combined.keys()]),
        modulesToSave: [
          ...new Set(adapters.flatMap(({ adapter }) => adapter.config.modulesToSave)),
        ],
      },
    },
    spectra,
  };
}

const ranksOf = ({ lora }: Adapter) => [...lora.values()].map(({ a }) => a.dims[0]);

/** One adapter's matrices of a module, with its scale and its weight in the combination. */
interface ModulePart {
  readonly weights: LoraWeights;
  readonly scale: number;
  readonly weight: number;
}

/** @throws {BadInputError} if a module has other sizes in another adapter */
function updatesByModule(
  adapters: readonly WeightedAdapter[],
): ReadonlyMap<string, readonly ModulePart[]> {
  const updates = new Map<string, ModulePart[]>();
  for (const { adapter: { lora, config }, weight, label } of adapters) {
    const alphas = new PatternValues(config.alphaPattern);
    for (const [path, weights] of lora) {
      const scale = loraScale(
        alphas.of(path) ?? config.alpha,
        weights.a.dims[0],
        config.useRslora,
      );
      const others = updates.get(path) ?? [];
      const [own, first] = [sizeOf(weights), sizeOf(others[0]?.weights ?? weights)];
      if (own !== first) {
        throw new BadInputError(
          `${label}: module "${path}" is [${own}], in another adapter [${first}]: they belong to ` +
            "different bases",
        );
      }
      updates.set(path, [...others, { weights, scale, weight }]);
    }
  }
  return updates;
}

/** Outputs and inputs of a module. */
const sizeOf = ({ a, b }: LoraWeights) => `${b.dims[0]}, ${a.dims[1]}`;

function asMatrix(tensor: LoraWeights["a"]): Matrix {
  return matrixOf(tensor.dims[0], tensor.dims[1], toNumbers(tensor));
}

/** @throws {BadInputError} if the matrices are beyond float32's range */
function asFloat32(path: string, { a, b }: CombinedUpdate): LoraWeights {
  const combined = {
    a: float32([a.rows, a.cols], a.values),
    b: float32([b.rows, b.cols], b.values),
  };
  if (firstNonFinite(combined.a) < 0 && firstNonFinite(combined.b) < 0) return combined;
  throw new BadInputError(
    `Cannot combine module "${path}": the result is beyond float32; use smaller weights`,
  );
}

/** Both matrices with zeros up to a rank. */
function padded({ a, b }: LoraWeights, rank: number): LoraWeights {
  const [own, cols] = a.dims;
  if (own === rank) return { a, b };
  const [rows] = b.dims;
  const [valuesA, valuesB] = [Float32Array.from(toNumbers(a)), Float32Array.from(toNumbers(b))];
  const wideA = new Float32Array(rank * cols);
  wideA.set(valuesA);
  const wideB = new Float32Array(rows * rank);
  for (let n = 0; n < rows; n++) wideB.set(valuesB.subarray(n * own, (n + 1) * own), n * rank);
  return { a: float32([rank, cols], wideA), b: float32([rows, rank], wideB) };
}

/**
 * The names of all adapters' targets; paths where one has a pattern, or was made by a program whose
 * names may mean more modules than it trained.
 */
function targetsOf(
  adapters: readonly WeightedAdapter[],
  paths: readonly string[],
): readonly string[] {
  const names = adapters.map(({ adapter: { config, card } }) =>
    card === undefined || typeof config.targetModules === "string"
      ? undefined
      : config.targetModules
  );
  return names.some((of) => of === undefined) ? paths : [...new Set(names.flatMap((of) => of!))];
}
