/** The model that the API answers with. */
import type { InferenceModel } from "../tasks/inference_model.ts";
import type { Adapters } from "./adapters.ts";
import type { NamedAdapter } from "./named_adapter.ts";
import { ApiError } from "./api_error.ts";

/** A model under a name: the base, or the base with an adapter. */
export interface ServedModel {
  /** Name in requests and answers. */
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: InferenceModel;
  /** Adapters over the model, if it takes any. */
  readonly adapters?: Adapters;
  /** The adapter that the name stands for. */
  readonly adapter?: NamedAdapter;
  /** The model without it. */
  readonly base?: ServedModel;
  /** Keeps the model open until it is disposed of, if it may be replaced meanwhile. */
  readonly hold?: () => Disposable;
}

/** What a request must be answered by. */
export interface Models {
  /** The bases that are loaded, the default first. */
  list(): readonly ServedModel[];
}

/** All that a request may name: bases, and adapters over them. */
export function allModels(models: Models): readonly ServedModel[] {
  return models.list().flatMap((base) => [base, ...(base.adapters?.list() ?? []).map(over(base))]);
}

const over = (base: ServedModel) => (adapter: NamedAdapter): ServedModel => ({
  ...base,
  id: adapter.name,
  created: adapter.created,
  adapter,
  base,
  ...mergedParts(adapter),
});

function mergedParts({ merged }: NamedAdapter): Partial<ServedModel> {
  return merged === undefined ? {} : { model: merged.model, hold: () => merged.hold() };
}

/** The adapters that requests may name, if one of the models takes any. */
export function servedAdapters(models: Models): Adapters | undefined {
  return models.list().find(({ adapters }) => adapters !== undefined)?.adapters;
}

/**
 * The model that a request names.
 *
 * @param name absent: the default
 * @throws {ApiError} 404 for a name that is not known, 503 before a model is loaded, or its adapter merged
 */
export function chosenModel(models: Models, name: string | undefined): ServedModel {
  const all = allModels(models);
  if (all.length === 0) {
    throw new ApiError(503, "The model is being loaded", { retryAfter: 1, code: "loading" });
  }
  const found = name === undefined ? all[0] : all.find(({ id }) => id === name);
  if (found !== undefined) return found;
  const merging = models.list().flatMap(({ adapters }) => adapters?.entries() ?? [])
    .find((entry) => entry.name === name && entry.merge?.state === "running");
  if (merging !== undefined) {
    throw new ApiError(503, `${name} is being merged`, { retryAfter: 5, code: "model_merging" });
  }
  throw new ApiError(
    404,
    `There is no model ${JSON.stringify(name)}; there is ${all.map(({ id }) => id).join(", ")}`,
    { param: "model", code: "model_not_found" },
  );
}

/**
 * Checks that a model can do what is asked.
 *
 * @throws {ApiError} 400 if it cannot
 */
export function requireKind(
  { id, model }: ServedModel,
  kinds: readonly InferenceModel["kind"][],
  what: string,
): void {
  if (kinds.includes(model.kind)) return;
  throw new ApiError(400, `${id} cannot ${what}: it is a model of kind ${model.kind}`, {
    param: "model",
    code: "unsupported_model",
  });
}
