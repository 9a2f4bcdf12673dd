/** `POST /v1/embeddings` and `POST /v1/classify`: vectors and classes of texts. */
import type { Context } from "hono";
import { shortened } from "../../serve/top_classes.ts";
import type { ReadText } from "../../tasks/inference_model.ts";
import { ApiError } from "../api_error.ts";
import { parseBody } from "../parse_body.ts";
import { classificationRequest, embeddingRequest } from "../schemas/embedding.ts";
import { chosenModel, requireKind, type ServedModel } from "../served_model.ts";
import { type Handler, type ServerParts, spanOf } from "../server_parts.ts";

export function embeddings(parts: ServerParts): Handler {
  return async (context) => {
    const request = await parseBody(context, embeddingRequest);
    const served = chosenModel(parts.models, request.model);
    requireKind(served, ["encoder", "classifier"], "embed");
    const isBase64 = request.encoding_format === "base64";
    const { found, usage } = await encodeAll(
      context,
      parts,
      served,
      request,
      "embeddings",
      (text, signal) => served.model.embed(text, signal),
    );
    const data = found.map(({ vector }, index) => ({
      object: "embedding",
      index,
      embedding: isBase64 ? base64Of(vector) : Array.from(vector, shortened),
    }));
    return context.json({ object: "list", data, model: served.id, usage });
  };
}

export function classify(parts: ServerParts): Handler {
  return async (context) => {
    const request = await parseBody(context, classificationRequest);
    const served = chosenModel(parts.models, request.model);
    requireKind(served, ["classifier"], "classify");
    const { found, usage } = await encodeAll(
      context,
      parts,
      served,
      request,
      "classify",
      (text, signal) => served.model.classify(text, request.top_n ?? undefined, signal),
    );
    const data = found.map(({ classes }, index) => ({ index, ...classes[0], classes }));
    return context.json({ object: "list", data, model: served.id, usage });
  };
}

/**
 * Reads all texts of a request, together.
 *
 * @param operation its name in traces
 */
async function encodeAll<T extends ReadText>(
  context: Context,
  { admission, metrics, stop }: ServerParts,
  { id, model, hold }: ServedModel,
  { model: requestModel, input, truncate }: {
    readonly model?: string;
    readonly input: string | readonly string[];
    readonly truncate?: boolean | null;
  },
  operation: string,
  encode: (text: string, signal: AbortSignal) => Promise<T>,
) {
  const texts = typeof input === "string" ? [input] : input;
  using _ = admission.enter();
  using _held = hold?.();
  using call = spanOf(context)?.call({ operation, requestModel, model: id });
  const failed = new AbortController();
  const signal = AbortSignal.any([stop, context.req.raw.signal, failed.signal]);
  const found = await Promise.all(texts.map((text) => encode(text, signal))).catch((error) => {
    failed.abort();
    throw error;
  });
  const long = found.findIndex(({ truncated }) => truncated);
  if (long >= 0 && truncate !== true) {
    throw new ApiError(
      400,
      `input ${long} has more than ${model.contextSize} tokens: shorten it, or send ` +
        '"truncate": true',
      { param: "input", code: "context_length_exceeded" },
    );
  }
  const tokens = found.reduce((sum, { tokens }) => sum + tokens, 0);
  metrics.tokens("prompt", tokens);
  call?.result({ inputTokens: tokens });
  return { found, usage: { prompt_tokens: tokens, total_tokens: tokens } };
}

/** Little-endian float32, as clients decode it. */
function base64Of(vector: Float32Array): string {
  const bytes = new Uint8Array(vector.length * Float32Array.BYTES_PER_ELEMENT);
  const view = new DataView(bytes.buffer);
  vector.forEach((value, i) => view.setFloat32(i * Float32Array.BYTES_PER_ELEMENT, value, true));
  return bytes.toBase64();
}
