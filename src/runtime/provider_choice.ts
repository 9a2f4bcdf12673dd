/** From what a user asks for to the execution providers that sessions are made with. */
import { type Message, RuntimeFailure, UsageError, worded } from "../errors.ts";
import { whatToDo } from "./provider_failure.ts";
import { ownValue } from "../records.ts";

/** A provider's name as ORT lists it, and its options. The same as the library's own type. */
export interface ChosenProvider {
  readonly name: string;
  readonly options: Readonly<Record<string, string>>;
}

/** What a user asks for. */
export interface ProviderWish {
  /** In order of preference: `auto`, `cpu`, `cuda`, `tensorrt`, or a name that ORT lists. */
  readonly names: readonly string[];
  /** `key=value`, for the first provider, or `PROVIDER:key=value`. */
  readonly options: readonly string[];
}

/** What there is to choose from. */
export interface ProviderTrial {
  readonly library: { readonly path: string; readonly version: string };
  /** Providers that the library was built with, as it lists them. */
  readonly available: readonly string[];
  /** Whether a driver shows a GPU. */
  readonly hasGpu: boolean;
  /** Options of a provider that the user sets none of. */
  defaults(name: string): Readonly<Record<string, string>>;
  /** Why a provider cannot be used here; `undefined` where it can. */
  failure(provider: ChosenProvider): string | undefined;
  /** Called with what is not used, and why. */
  note(message: Message): void;
}

const CPU = "CPUExecutionProvider";
const CUDA = "CUDAExecutionProvider";
const TENSORRT = "TensorrtExecutionProvider";

/** Short names that ORT spells in other letters. */
const ALIASES: Readonly<Record<string, string>> = {
  cpu: CPU,
  cuda: CUDA,
  tensorrt: TENSORRT,
  trt: TENSORRT,
};

/** `cuda` for `CUDAExecutionProvider`, as flags take it. */
export function shortName(name: string): string {
  return name.replace(/ExecutionProvider$/, "").toLowerCase();
}

/** Whether a GPU library is worth looking for. */
export function wantsGpu({ names }: ProviderWish, hasGpu: boolean): boolean {
  const wanted = names.map((name) => ALIASES[shortName(name)] ?? name);
  return wanted.includes(CUDA) || wanted.includes(TENSORRT) ||
    (hasGpu && names.includes("auto"));
}

/**
 * The providers to make sessions with, best first; the CPU's is left out, since ORT always has it.
 *
 * `auto` is CUDA where a GPU is there and the provider loads, else the CPU. TensorRT is never
 * chosen unasked: it builds engines for minutes.
 *
 * @throws {UsageError} for a wish that makes no sense
 * @throws {RuntimeFailure} where no provider of the list can be used
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
    if (name === CPU) break; // it takes every node: what is named after it gets none
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

/** Options by the provider they are for. */
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
