/** The execution providers of a runner, and what they need of each session. */
import {
  availableProviders,
  type Environment,
  OrtError,
  type Provider,
  RECORD_ASSIGNMENT,
  type Session,
  type SessionSettings,
  tryProvider,
} from "../../ffi/mod.ts";
import { type Message, RuntimeFailure } from "../errors.ts";
import { integersToDequantize } from "../graph/passes/integers_to_dequantize.ts";
import { nbitsToDequantize } from "../graph/passes/nbits_to_dequantize.ts";
import { withOwnDeviation } from "../graph/passes/own_deviation.ts";
import type { Model } from "../graph/types.ts";
import { withPatience } from "./engine_patience.ts";
import { placementOf, profilePrefix } from "./placement_profile.ts";
import { PlacementReport } from "./placement_report.ts";
import { chooseProviders, type ProviderWish } from "./provider_choice.ts";
import {
  defaultOptions,
  engineFolder,
  type OptionSurroundings,
  withEnginePrefix,
} from "./provider_options.ts";
import { providerFailure } from "./providers.ts";
import { recordsRuns, withoutRecording } from "./recorded_runs.ts";
import type { CompileOptions } from "./runner.ts";

/** Names of providers that the library and its API spell in two ways. */
const CPU = /^CPU(ExecutionProvider)?$/;
const TENSORRT = /^Tensor(RT|rtExecutionProvider)$/;
const WEBGPU = /^WebG(PU|puExecutionProvider)$/;

/** Which providers a runner is to use. */
export interface ProviderOptions {
  /** Execution providers in order of preference; the CPU comes last by itself. */
  readonly providers?: readonly Provider[];
  /** Providers that a user asks for, to be tried; instead of {@linkcode providers}. */
  readonly wish?: ProviderWish;
  /** Whether a driver shows a GPU; default false. */
  readonly hasGpu?: boolean;
  /** What providers' options depend on. */
  readonly surroundings?: OptionSurroundings;
  /** Called with what is done in another way than asked for, where graphs run, what takes minutes. */
  readonly note?: (message: Message) => void;
}

/** Providers that were tried, and what one model's session needs of them. */
export interface ModelProviders {
  /** Over the session's other settings. */
  readonly settings: SessionSettings;
  /** What making the session, and its runs, are wrapped in where they may take minutes. */
  readonly around?: <T>(work: () => Promise<T>) => Promise<T>;
  /** To be called after the session's first run, or with `false` before an end without one. */
  readonly afterFirstRun?: (session: Session, ran: boolean) => void;
}

/** Owns the account of where graphs run, which is told at the end at the latest. */
export class SessionProviders implements Disposable {
  readonly list: readonly Provider[];
  /** Whether sessions can be made whose runs are recorded. */
  readonly records: boolean;
  /** The list for these. */
  readonly #recording: readonly Provider[];
  readonly #note: ((message: Message) => void) | undefined;
  readonly #report: PlacementReport | undefined;

  /**
   * @throws {UsageError} for a wish that makes no sense
   * @throws {RuntimeFailure} where a provider cannot be used and none replaces it
   */
  constructor(environment: Environment, options: ProviderOptions) {
    const chosen = options.wish === undefined
      ? tried(environment, options.providers ?? [])
      : wished(environment, options.wish, options);
    this.#recording = chosen.filter(({ name }) => !CPU.test(name));
    this.records = this.#recording.some(recordsRuns);
    this.list = this.#recording.map(withoutRecording);
    this.#note = options.note;
    if (this.list.length > 0 && options.note !== undefined) {
      this.#report = new PlacementReport(this.names, options.note);
    }
  }

  get names(): readonly string[] {
    return this.list.map(({ name }) => name);
  }

  /** A model in the form that the providers take most of, and compute right. */
  formOf(model: Model): Model {
    const form = this.#tensorrt === undefined
      ? model
      : integersToDequantize(nbitsToDequantize(model));
    return this.list.some(({ name }) => WEBGPU.test(name)) ? withOwnDeviation(form) : form;
  }

  get #tensorrt(): Provider | undefined {
    return this.list.find(({ name }) => TENSORRT.test(name));
  }

  /** @param digest of the model, for the names of its engines */
  async forModel(
    label: string,
    { config, profilePrefix: profile, recorded }: CompileOptions,
    digest: () => Promise<string>,
  ): Promise<ModelProviders> {
    const report = this.#report;
    // The caller may want the profile for itself.
    const told = report === undefined || profile !== undefined ? {} : {
      settings: { config: { ...config, [RECORD_ASSIGNMENT]: "1" }, profilePrefix: profilePrefix() },
      afterFirstRun: (session: Session, ran: boolean) => {
        const placement = placementOf(session);
        if (ran && placement.size > 0) report.add(placement);
      },
    };
    const list = recorded ? this.#recording : this.list;
    const tensorrt = this.#tensorrt;
    if (tensorrt === undefined) return { ...told, settings: { providers: list, ...told.settings } };
    const folder = engineFolder(tensorrt.options ?? {});
    if (folder !== undefined) Deno.mkdirSync(folder, { recursive: true });
    const options = folder === undefined
      ? tensorrt.options
      : withEnginePrefix(tensorrt.options ?? {}, await digest());
    const providers = list.map((provider) =>
      provider.name === tensorrt.name ? { ...provider, options } : provider
    );
    const note = this.#note;
    return {
      ...told,
      settings: { providers, ...told.settings },
      around: note && ((work) => withPatience(label, folder, note, work)),
    };
  }

  [Symbol.dispose](): void {
    this.#report?.[Symbol.dispose]();
  }
}

function wished(
  environment: Environment,
  wish: ProviderWish,
  { hasGpu = false, note = () => {}, surroundings = { unifiedMemory: false } }: ProviderOptions,
): readonly Provider[] {
  const { ort } = environment;
  return chooseProviders(wish, {
    library: ort,
    available: availableProviders(ort),
    hasGpu,
    defaults: (name) => defaultOptions(name, surroundings),
    // A trial's graph is not recorded.
    failure: (provider) => providerFailure(environment, withoutRecording(provider)),
    note,
  });
}

/** Tries the providers before any model is loaded, while the message can say what to do. */
function tried({ ort }: Environment, providers: readonly Provider[]): readonly Provider[] {
  for (const provider of providers) {
    try {
      tryProvider(ort, provider);
    } catch (error) {
      if (!(error instanceof OrtError)) throw error;
      throw new RuntimeFailure(
        (name) =>
          `Cannot use ${provider.name} of ONNX Runtime at "${ort.path}", which was built with ` +
          `${availableProviders(ort).join(", ")}: ${error.message}: leave it out, or point ` +
          `${name("ortLib")} or GRAFT_ORT_LIB at a build that has it, its own libraries beside it`,
        { cause: error },
      );
    }
  }
  return providers;
}
