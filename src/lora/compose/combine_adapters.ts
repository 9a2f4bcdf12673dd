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
import { checkCombination, type Combination, isSvd } from "./combination.ts";
import { type CombinedUpdate, combineModule, type WeightedUpdate } from "./combine_module.ts";

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
 * @throws {ParameterError} for settings that the type does not have
 * @throws {BadInputError | UsageError} for adapters that cannot be combined
 */
export function combineAdapters(
  adapters: readonly WeightedAdapter[],
  combination: Combination,
): CombinedAdapter {
  checkCombination(combination);
  checkCombinable(adapters);
  const updates = updatesByModule(adapters);
  const most = combination.rank ??
    Math.max(...adapters.flatMap(({ adapter }) => ranksOf(adapter)), 1);
  const random = Random.fromSeed(combination.seed);
  const combined = new Map<string, CombinedUpdate>();
  for (const [path, parts] of updates) {
    try {
      combined.set(path, combineModule(parts, combination, most, { ...combination, random }));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new BadInputError(
        `Cannot combine module "${path}": ${error.message}; use cat or svd`,
        { cause: error },
      );
    }
  }
  const rank = Math.max(1, ...[...combined.values()].map(({ a }) => a.rows));
  const [{ adapter: first }] = adapters;
  const head = adapters.find(({ adapter }) => adapter.head !== undefined)?.adapter.head;
  return {
    adapter: {
      lora: new Map([...combined].map(([path, update]) => [path, ofRank(path, update, rank)])),
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
    spectra: new Map(
      [...combined].flatMap(([path, { singularValues }]) =>
        isSvd(combination.type) && singularValues !== undefined ? [[path, singularValues]] : []
      ),
    ),
  };
}

const ranksOf = ({ lora }: Adapter) => [...lora.values()].map(({ a }) => a.dims[0]);

/** @throws {BadInputError} if a module has other sizes in another adapter */
function updatesByModule(
  adapters: readonly WeightedAdapter[],
): ReadonlyMap<string, readonly WeightedUpdate[]> {
  const updates = new Map<string, WeightedUpdate[]>();
  for (const { adapter: { lora, config }, weight, label } of adapters) {
    const alphas = new PatternValues(config.alphaPattern);
    for (const [path, weights] of lora) {
      const [a, b] = [asMatrix(weights.a), asMatrix(weights.b)];
      const scale = loraScale(alphas.of(path) ?? config.alpha, a.rows, config.useRslora);
      const others = updates.get(path) ?? [];
      if (others.length > 0 && (others[0].a.cols !== a.cols || others[0].b.rows !== b.rows)) {
        throw new BadInputError(
          `${label}: module "${path}" is [${b.rows}, ${a.cols}], in another adapter ` +
            `[${others[0].b.rows}, ${others[0].a.cols}]: they belong to different bases`,
        );
      }
      updates.set(path, [...others, { a, b, scale, weight }]);
    }
  }
  return updates;
}

function asMatrix(tensor: LoraWeights["a"]): Matrix {
  return matrixOf(tensor.dims[0], tensor.dims[1], toNumbers(tensor));
}

/**
 * Both matrices as float32, with zeros up to a rank.
 *
 * @throws {BadInputError} if they are beyond float32's range
 */
function ofRank(path: string, { a, b }: CombinedUpdate, rank: number): LoraWeights {
  const wideA = new Float32Array(rank * a.cols);
  wideA.set(a.values);
  const wideB = new Float32Array(b.rows * rank);
  for (let n = 0; n < b.rows; n++) {
    wideB.set(b.values.subarray(n * b.cols, (n + 1) * b.cols), n * rank);
  }
  const combined = { a: float32([rank, a.cols], wideA), b: float32([b.rows, rank], wideB) };
  if (firstNonFinite(combined.a) < 0 && firstNonFinite(combined.b) < 0) return combined;
  throw new BadInputError(
    `Cannot combine module "${path}": the result is beyond float32; use smaller weights`,
  );
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
