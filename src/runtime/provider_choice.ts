/** Chooses the execution providers of sessions from the user's request. */
import { type Message, RuntimeFailure, UsageError, worded } from "../errors.ts";
import { whatToDo } from "./provider_failure.ts";
import { ownValue } from "../records.ts";

/** A provider's name as ORT lists it, and its options. The same as the library's own type. */
export interface ChosenProvider {
  readonly name: string;
  readonly options: Readonly<Record<string, string>>;
}

/** A user's request. */
export interface ProviderWish {
  /** In order of preference: `auto`, `cpu`, `cuda`, `tensorrt`, or a name that ORT lists. */
  readonly names: readonly string[];
  /** `key=value`, for the first provider, or `PROVIDER:key=value`. */
  readonly options: readonly string[];
}

/** Available providers and facts about the machine. */
export interface ProviderTrial {
  readonly library: { readonly path: string; readonly version: string };
  /** Providers that the library was built with, as it lists them. */
  readonly available: readonly string[];
  /** Whether a driver shows a GPU. */
  readonly hasGpu: boolean;
  /** Default options of a provider. */
  defaults(name: string): Readonly<Record<string, string>>;
  /** Returns why a provider cannot be used here; `undefined` if it can. */
  failure(provider: ChosenProvider): string | undefined;
  /** Reports an unused provider, with the reason. */
  note(message: Message): void;
}

const CPU = "CPUExecutionProvider";
const CUDA = "CUDAExecutionProvider";
const TENSORRT = "TensorrtExecutionProvider";

/** Short names with another spelling in ORT. */
const ALIASES: Readonly<Record<string, string>> = {
  cpu: CPU,
  cuda: CUDA,
  tensorrt: TENSORRT,
  trt: TENSORRT,
};

/** The name for flags: `cuda` for `CUDAExecutionProvider`. */
export function shortName(name: string): string {
  return name.replace(/ExecutionProvider$/, "").toLowerCase();
}

/** Whether to look for a GPU library. */
export function wantsGpu({ names }: ProviderWish, hasGpu: boolean): boolean {
  const wanted = names.map((name) => ownValue(ALIASES, shortName(name)) ?? name);
  return wanted.includes(CUDA) || wanted.includes(TENSORRT) ||
    (hasGpu && names.includes("auto"));
}

/**
 * The providers of sessions, best first, without the CPU's, which ORT always has.
 *
 * `auto` is CUDA if there is a GPU and the provider loads, otherwise the CPU. TensorRT is only used on
 * request, because it builds engines for minutes.
 *
 * @throws {UsageError} for an invalid request
 * @throws {RuntimeFailure} if no provider of the list can be used
 */
export function chooseProviders(
  wish: ProviderWish,
  trial: ProviderTrial,
): readonly ChosenProvider[] {
  const names = wish.names.length === 0 ? ["auto"] : wish.names;
  if (names.includes("auto")) {
    if (names.length > 1) {
      throw new UsageError(
        (name) =>
          `${name("ep", "auto")} stands alone: current value is ${
            names.join(",")
          }: name the providers in order, as \`${name("ep", "tensorrt,cuda,cpu")}\``,
      );
    }
    return chooseAutomatically(wish, trial);
  }
  const wanted = names.map((name) => listedName(name, trial));
  const options = sortOptions(wish.options, wanted, trial);
  const chosen: ChosenProvider[] = [];
  const failures: Message[] = [];
  for (const name of wanted) {
    if (name === CPU) break; // it runs every node, so providers after it get none
    const provider = { name, options: { ...trial.defaults(name), ...options.get(name) } };
    const failure = trial.available.includes(name) ? trial.failure(provider) : notBuiltIn(trial);
    if (failure === undefined) chosen.push(provider);
    else failures.push(explained(shortName(name), failure));
  }
  if (failures.length === 0) return chosen;
  if (chosen.length === 0 && !wanted.includes(CPU)) {
    const { path, version } = trial.library;
    throw new RuntimeFailure(
      (name) =>
        `Cannot use ${names.join(" or ")} of ONNX Runtime ${version} at "${path}": ` +
        `${failures.map((failure) => worded(failure, name)).join("; ")}; ` +
        `\`${name("ep", `${names.join(",")},cpu`)}\` falls back to the processor`,
    );
  }
  const rest = [...chosen.map(({ name }) => shortName(name)), "cpu"].join(", then ");
  for (const failure of failures) trial.note((name) => `Not used: ${worded(failure, name)}`);
  trial.note(`Running on ${rest}`);
  return chosen;
}

function chooseAutomatically(wish: ProviderWish, trial: ProviderTrial): readonly ChosenProvider[] {
  if (!trial.hasGpu) {
    refuseOptions(wish.options, "no GPU is there");
    return [];
  }
  if (!trial.available.includes(CUDA)) {
    refuseOptions(wish.options, "the library has no CUDA");
    trial.note((name) =>
      `A GPU is there, but ONNX Runtime at "${trial.library.path}" has no CUDA: running on the ` +
      `processor; GRAFT_ORT_LIB names a build that has it, \`${
        name("ep", "cpu")
      }\` says that none ` +
      "is wanted"
    );
    return [];
  }
  const options = sortOptions(wish.options, [CUDA], trial).get(CUDA);
  const provider = { name: CUDA, options: { ...trial.defaults(CUDA), ...options } };
  const failure = trial.failure(provider);
  if (failure === undefined) return [provider];
  const why = explained("A GPU is there, but CUDA cannot be used", failure);
  trial.note((name) =>
    `${worded(why, name)}; running on the processor, as \`${
      name("ep", "cpu")
    }\` does without this line`
  );
  return [];
}

const notBuiltIn = ({ available }: ProviderTrial): Message => (name) =>
  `this library was built with ${available.join(", ")}: point ${name("ortLib")} or ` +
  "GRAFT_ORT_LIB at a build that has it";

/** What failed, why, and what to do. */
function explained(what: string, failure: Message): Message {
  return (name) => {
    const why = worded(failure, name);
    return `${what}: ${why}${whatToDo(why, name)}`;
  };
}

/** A name as ORT lists it. */
function listedName(name: string, { available }: ProviderTrial): string {
  const short = shortName(name);
  const listed = ownValue(ALIASES, short) ?? available.find((other) => shortName(other) === short);
  if (listed !== undefined) return listed;
  throw new UsageError(
    (parameter) =>
      `${parameter("ep")} knows no provider "${name}": this ONNX Runtime has ` +
      available.map(shortName).join(", "),
  );
}

/** Options by provider. */
function sortOptions(
  options: readonly string[],
  wanted: readonly string[],
  trial: ProviderTrial,
): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const sorted = new Map<string, Record<string, string>>();
  for (const option of options) {
    const [, prefix, key, value] = /^(?:([A-Za-z]+):)?([^=:]+)=(.*)$/s.exec(option) ?? [];
    if (key === undefined) {
      throw new UsageError(
        (name) =>
          `${name("epOption")} must be key=value or PROVIDER:key=value: current value is ` +
          `"${option}"`,
      );
    }
    const name = prefix !== undefined
      ? listedName(prefix, trial)
      : key.startsWith("trt_")
      ? TENSORRT
      : wanted[0];
    if (name === CPU || !wanted.includes(name)) {
      throw new UsageError(
        (parameter) =>
          `${parameter("epOption", option)} is for ${shortName(name)}, which ` +
          (name === CPU ? "has no options" : `${parameter("ep")} does not name`),
      );
    }
    const own = sorted.get(name) ?? {};
    sorted.set(name, { ...own, [key]: value });
  }
  return sorted;
}

function refuseOptions(options: readonly string[], why: string): void {
  if (options.length > 0) {
    throw new UsageError((name) =>
      `${name("epOption", options[0])} has nothing to change: ${why}, so that ` +
      `${name("ep", "auto")} is the processor`
    );
  }
}
