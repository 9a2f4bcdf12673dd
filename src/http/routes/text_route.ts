/** What the two routes that generate text have in common. */
import type { Context } from "hono";
import type { GeneratedText } from "../../serve/text_generator.ts";
import type { TokenScores } from "../../serve/log_probabilities.ts";
import type { AdapterMatrices } from "../../serve/adapter_inputs.ts";
import { unixSeconds } from "../../system/unix_time.ts";
import { VERSION } from "../../version.ts";
import { ApiError, fromLibrary } from "../api_error.ts";
import { eventStream } from "../event_stream.ts";
import {
  type AnswerOptions,
  generateAnswers,
  type Prompt,
  textOptions,
  type Usage,
  usageOf,
} from "../generation.ts";
import type { Sampling } from "../schemas/common.ts";
import { type Models, servedAdapters, type ServedModel } from "../served_model.ts";
import { type ServerParts, spanOf } from "../server_parts.ts";
import { type CallSpan, CLIENT_LEFT } from "../trace/tracing.ts";
import { beginTextCall } from "./text_call.ts";

/** An answer's beginning, a piece of it, or its end. */
export type Part =
  | { readonly begins: true }
  | { readonly piece: string; readonly scores: readonly TokenScores[] }
  | { readonly ends: GeneratedText["finishReason"] };

/** How a route writes answers. */
export interface Format {
  /** Name of what is done, in traces. */
  readonly operation: string;
  /** Type of a whole answer, and of a part of one. */
  readonly object: string;
  readonly partObject: string;
  /** Begins the answer's id. */
  readonly prefix: string;
  choice(index: number, answer: GeneratedText): Promise<Record<string, unknown>>;
  /** `undefined` if nothing is sent for the part. */
  part(index: number, part: Part): Promise<Record<string, unknown> | undefined>;
}

/** A checked request. */
export interface TextRequest {
  readonly served: ServedModel;
  readonly prompts: readonly Prompt[];
  readonly sampling: Sampling;
  readonly topLogprobs?: number;
  /** A JSON schema that answers keep to. */
  readonly schema?: string;
  readonly format: Format;
  /** Name of the model in the request; absent if it has none. */
  readonly requestModel?: string;
}

/** Sends a part of an answer. */
type SendPart = (index: number, part: Part) => Promise<void>;

/** Most answers to all prompts of a request. */
const MOST_ANSWERS_IN_ALL = 64;

/** Answers a request at once, or in pieces. */
export async function answerText(
  context: Context,
  given: TextRequest,
  parts: ServerParts,
): Promise<Response> {
  const request = { ...given, served: answeredBy(given) };
  const { served, prompts, sampling } = request;
  const count = sampling.n ?? 1;
  if (prompts.length * count > MOST_ANSWERS_IN_ALL) {
    throw new ApiError(400, `A request may ask for at most ${MOST_ANSWERS_IN_ALL} answers in all`, {
      param: "n",
    });
  }
  using resources = new DisposableStack();
  resources.use(parts.admission.enter());
  resources.use(served.hold?.());
  const call = resources.use(
    beginTextCall(context, { ...request, operation: request.format.operation }),
  );
  const answering = answeringOf(context, request, parts, call);
  return sampling.stream
    ? await inPieces(context, request, answering, parts, resources)
    : await atOnce(context, request, answering);
}

/** What answering a request at once and in pieces have in common. */
interface Answering {
  /** Answers to each prompt. */
  readonly count: number;
  /** Fields that all parts of the answer begin with. */
  readonly head: Readonly<Record<string, unknown>>;
  options(...signals: AbortSignal[]): AnswerOptions;
  /** Called at each piece; counts the first one. */
  firstToken(): void;
  /** Counts the tokens of all answers, which are complete. */
  usage(answers: readonly GeneratedText[]): Usage;
}

function answeringOf(
  context: Context,
  { served, sampling, topLogprobs, schema, format }: TextRequest,
  parts: ServerParts,
  call: CallSpan | undefined,
): Answering {
  const { metrics, stop } = parts;
  const count = sampling.n ?? 1;
  const start = performance.now();
  const adapter = adapterOf(served, sampling, parts.models);
  let told = false;
  const id = `${format.prefix}-${crypto.randomUUID()}`;
  return {
    count,
    head: {
      id,
      created: unixSeconds(),
      model: served.id,
      system_fingerprint: `graft-${VERSION}`,
      ...(served.adapter === undefined ? {} : { adapter_generation: served.adapter.generation }),
    },
    options: (...signals) => ({
      ...textOptions(sampling, topLogprobs, parts),
      schema,
      adapter,
      onStage: call && ((stage) => call.at(stage)),
      signal: AbortSignal.any([stop, context.req.raw.signal, ...signals]),
    }),
    firstToken() {
      if (!told) metrics.firstToken((performance.now() - start) / 1000);
      told = true;
    },
    usage(answers) {
      const counted = usageOf(answers, count);
      metrics.tokens("prompt", counted.prompt_tokens);
      metrics.tokens("generated", counted.completion_tokens);
      call?.result({
        id,
        inputTokens: counted.prompt_tokens,
        outputTokens: counted.completion_tokens,
        finishReasons: answers.map(({ finishReason }) => finishReason),
      });
      return counted;
    },
  };
}

async function atOnce(
  context: Context,
  { served, prompts, format }: TextRequest,
  { count, head, options, firstToken, usage }: Answering,
): Promise<Response> {
  const answers = await generateAnswers(served.model, prompts, count, options(), firstToken);
  const choices = await Promise.all(answers.map((answer, i) => format.choice(i, answer)));
  return context.json({ ...head, object: format.object, choices, usage: usage(answers) });
}

/** @param resources what the request holds; kept until the last piece is sent */
async function inPieces(
  context: Context,
  { served, prompts, sampling, format }: TextRequest,
  { count, head, options, firstToken, usage }: Answering,
  parts: ServerParts,
  resources: DisposableStack,
): Promise<Response> {
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const { promise: sender, resolve: open } = Promise.withResolvers<SendPart>();
  const left = new AbortController();
  const work = generateAnswers(
    served.model,
    prompts,
    count,
    options(left.signal),
    async (index, piece, scores) => {
      firstToken();
      begin();
      await (await sender)(index, { piece, scores });
    },
  );
  // What prevents the first token is an answer with its own status, not an event.
  await Promise.race([begun, work]);
  const place = resources.move();
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  context.set("ended", ended);
  const withUsage = sampling.stream_options?.include_usage === true;
  return eventStream(async (send, gone) => {
    gone.addEventListener("abort", () => left.abort());
    const chunk = { ...head, object: format.partObject };
    const sendPart: SendPart = async (index, part) => {
      const choice = await format.part(index, part);
      if (choice === undefined) return;
      await send({ ...chunk, choices: [choice], ...(withUsage ? { usage: null } : {}) });
    };
    const numbers = Array.from({ length: prompts.length * count }, (_, i) => i);
    try {
      for (const index of numbers) await sendPart(index, { begins: true });
    } finally {
      // Whoever waits to send goes on, and fails where the client has left.
      open(sendPart);
    }
    const answers = await work;
    // Generated, whether or not the client is there for the end.
    const counted = usage(answers);
    for (const index of numbers) await sendPart(index, { ends: answers[index].finishReason });
    if (withUsage) await send({ ...chunk, choices: [], usage: counted });
  }, (failure, isGone) => {
    place.dispose();
    if (isGone) spanOf(context)?.fail(CLIENT_LEFT);
    else if (failure !== undefined) spanOf(context)?.fail((failure as Error).name);
    end();
    if (failure !== undefined && fromLibrary(failure) === undefined) {
      parts.onFailure(failure, context.get("requestId"));
    }
  });
}

/** A mix is of the base, whichever adapter the name stands for. */
function answeredBy({ served, sampling }: TextRequest): ServedModel {
  return sampling.lora && served.base !== undefined ? { ...served.base, id: served.id } : served;
}

/** @throws {ApiError} 400 for scales where the model takes no adapters, 404 for an unknown one */
function adapterOf(
  { id, adapter, adapters }: ServedModel,
  { lora }: Sampling,
  models: Models,
): AdapterMatrices | undefined {
  if (lora && adapters === undefined) {
    const base = servedAdapters(models)?.base;
    throw new ApiError(
      400,
      base === undefined
        ? "This server takes no adapters"
        : `${id} takes no adapters: name ${base}, which they are for`,
      { param: "lora" },
    );
  }
  if (lora || adapter === undefined) return adapters?.mix(lora ?? undefined);
  return adapter.merged === undefined ? adapter.source.matrices : undefined;
}
