/** The execution providers of a runner, and their settings for each session. */
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

/** The CPU provider's two spellings in the library and its API. */
const CPU = /^CPU(ExecutionProvider)?$/;
const TENSORRT = /^Tensor(RT|rtExecutionProvider)$/;
const WEBGPU = /^WebG(PU|puExecutionProvider)$/;

/** Options of a runner's providers. */
export interface ProviderOptions {
  /** Execution providers in order of preference; the CPU is always last. */
  readonly providers?: readonly Provider[];
  /** Providers that a user requests, to be tried; instead of {@linkcode providers}. */
  readonly wish?: ProviderWish;
  /** Whether a driver shows a GPU; default false. */
  readonly hasGpu?: boolean;
  /** Facts that providers' options depend on. */
  readonly surroundings?: OptionSurroundings;
  /** Receives notes: differences from the request, where graphs run, and what takes minutes. */
  readonly note?: (message: Message) => void;
}

/** Tried providers, and the settings of one model's session. */
export interface ModelProviders {
  /** Settings that override the session's others. */
  readonly settings: SessionSettings;
  /** Wraps the creation of the session, and its runs, if they may take minutes. */
  readonly around?: <T>(work: () => Promise<T>) => Promise<T>;
  /** To be called after the session's first run, or with `false` on disposal without a run. */
  readonly afterFirstRun?: (session: Session, ran: boolean) => void;
}

/** Owns the report of where graphs run, which is printed at the end at the latest. */
export class SessionProviders implements Disposable {
  readonly list: readonly Provider[];
  /** Whether sessions with recorded runs can be created. */
  readonly records: boolean;
  /** The providers of such sessions. */
  readonly #recording: readonly Provider[];
  readonly #note: ((message: Message) => void) | undefined;
  readonly #report: PlacementReport | undefined;

  /**
   * @throws {UsageError} for an invalid request
   * @throws {RuntimeFailure} if a provider cannot be used and none replaces it
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

  /** A model in the form of which the providers run most nodes, and run them correctly. */
  formOf(model: Model): Model {
    const form = this.#tensorrt === undefined
      ? model
      : integersToDequantize(nbitsToDequantize(model));
    return this.list.some(({ name }) => WEBGPU.test(name)) ? withOwnDeviation(form) : form;
  }

  get #tensorrt(): Provider | undefined {
    return this.list.find(({ name }) => TENSORRT.test(name));
  }

  /** @param digest computes the model's digest, for the names of its engines */
  async forModel(
    label: string,
    { config, profilePrefix: profile, recorded }: CompileOptions,
    digest: () => Promise<string>,
  ): Promise<ModelProviders> {
    const report = this.#report;
    // The caller may need the profile.
    const reported = report === undefined || profile !== undefined ? {} : {
      settings: { config: { ...config, [RECORD_ASSIGNMENT]: "1" }, profilePrefix: profilePrefix() },
      afterFirstRun: (session: Session, ran: boolean) => {
        const placement = placementOf(session);
        if (ran && placement.size > 0) report.add(placement);
      },
    };
    const list = recorded ? this.#recording : this.list;
    const tensorrt = this.#tensorrt;
    if (tensorrt === undefined) {
      return { ...reported, settings: { providers: list, ...reported.settings } };
    }
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
      ...reported,
      settings: { providers, ...reported.settings },
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
    // The graph of a trial is not recorded.
    failure: (provider) => providerFailure(environment, withoutRecording(provider)),
    note,
  });
}

/** Tries the providers before any model is loaded, so that the message can give a remedy. */
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
