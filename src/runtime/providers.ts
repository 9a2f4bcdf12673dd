/** Lists the execution providers of a library, and tests which of them load. */
import {
  availableProviders,
  Environment,
  type Ort,
  OrtError,
  type Provider,
  Session,
  tryProvider,
} from "../../ffi/mod.ts";
import { identityModel } from "./identity_model.ts";
import { attempt } from "./failure.ts";
import { openOrt } from "./brought_library.ts";

/** An execution provider. */
export interface ProviderState {
  /** Its name in ONNX Runtime's list: `CUDAExecutionProvider`. */
  readonly name: string;
  /** `untried` for those that graft does not support: loading one can be slow, or print messages. */
  readonly state: "loads" | "fails" | "untried";
  /** Why it does not load on this machine. */
  readonly failure?: string;
}

/** Supported providers. */
const TRIED = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"];

/** A library and its providers. */
export interface LibraryState {
  readonly path: string;
  readonly version: string;
  readonly providers: readonly ProviderState[];
}

/**
 * Describes the library that graft would use, with its providers, none of them tried.
 *
 * @param explicit value of `--ort-lib` or `GRAFT_ORT_LIB`
 * @throws {RuntimeFailure} if the library is missing, not ONNX Runtime, or too old
 */
export function describeLibrary(
  explicit: string | undefined,
  note: (line: string) => void,
): string {
  return attempt("Cannot open ONNX Runtime", () => {
    const ort = openOrt(explicit, note);
    return `ONNX Runtime ${ort.version}: ${availableProviders(ort).join(", ")}`;
  });
}

/**
 * Opens the library that graft would use and tries each of its providers.
 *
 * @param explicit value of `--ort-lib` or `GRAFT_ORT_LIB`
 * @throws {RuntimeFailure} if the library is missing, not ONNX Runtime, or too old
 */
export function inspectLibrary(
  explicit: string | undefined,
  note: (line: string) => void,
): LibraryState {
  return attempt("Cannot open ONNX Runtime", () => {
    const ort = openOrt(explicit, note);
    // Providers log while they load, to the environment's logger.
    const environment = Environment.acquire(ort, { logLevel: "fatal" });
    try {
      const providers = availableProviders(ort).map((name) => stateOf(ort, name));
      return { path: ort.path, version: ort.version, providers };
    } finally {
      environment.release();
    }
  });
}

function stateOf(ort: Ort, name: string): ProviderState {
  if (!TRIED.includes(name)) return { name, state: "untried" };
  const failure = loadFailure(ort, { name });
  return failure === undefined ? { name, state: "loads" } : { name, state: "fails", failure };
}

/** Why a provider's libraries do not load or its options are refused; `undefined` if all is well. */
function loadFailure(ort: Ort, provider: Provider): string | undefined {
  try {
    tryProvider(ort, provider);
    return undefined;
  } catch (error) {
    if (!(error instanceof OrtError)) throw error;
    return plainReason(error.message);
  }
}

/** Why sessions cannot be created with a provider: its libraries, its options, or its device. */
export function providerFailure(environment: Environment, provider: Provider): string | undefined {
  const failure = loadFailure(environment.ort, provider);
  if (failure !== undefined) return failure;
  try {
    // A graph of strings, which no device computes: its session only opens the device.
    const texts = identityModel("texts", "string", ["n"]);
    Session.fromBytesHere(environment, texts, { providers: [provider] })[Symbol.dispose]();
    return undefined;
  } catch (error) {
    if (!(error instanceof OrtError)) throw error;
    return plainReason(error.message);
  }
}

/** The message of the dynamic loader, CUDA or WebGPU, without the library's source locations. */
export function plainReason(message: string): string {
  const [cuda] = /CUDA failure \d+: [^;]+/.exec(message) ?? [];
  if (cuda !== undefined) return cuda.trim();
  const [, library, reason] = /Failed to load library (\S+) with error: (.*)$/s.exec(message) ?? [];
  if (library === undefined) {
    return /Failed to get a WebGPU adapter: .*$/s.exec(message)?.[0] ?? message;
  }
  return reason.startsWith(`${library}: `) ? reason : `${library}: ${reason}`;
}
