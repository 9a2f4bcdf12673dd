/** What is served and how it does: `/health`, `/v1/models`, `/props`, `/metrics`. */
import { ApiError } from "../api_error.ts";
import { allModels, chosenModel, servedAdapters, type ServedModel } from "../served_model.ts";
import type { Handler, ServerParts } from "../server_parts.ts";
import { VERSION } from "../../version.ts";

/** 200 once the model has answered, 503 before, and when the server ends. */
export function health({ models, admission }: ServerParts): Handler {
  return (context) => {
    if (!admission.ending && models.list().length > 0) return context.json({ status: "ok" });
    const message = admission.ending ? "The server is ending" : "The model is being loaded";
    throw new ApiError(503, message, { retryAfter: 1 });
  };
}

export function listModels({ models }: ServerParts): Handler {
  return (context) => context.json({ object: "list", data: allModels(models).map(modelJson) });
}

export function getModel({ models }: ServerParts): Handler {
  return (context) => context.json(modelJson(chosenModel(models, context.req.param("model"))));
}

function modelJson({ id, created, model, adapter, adapters }: ServedModel) {
  return {
    id,
    object: "model",
    created,
    owned_by: "graft",
    root: adapter?.source.path ?? id,
    parent: adapter === undefined ? null : adapters!.base,
    ...(adapter === undefined ? {} : { adapter_generation: adapter.generation }),
    max_model_len: model.contextSize ?? null,
  };
}

export function props(parts: ServerParts): Handler {
  return (context) => {
    const { id, model } = chosenModel(parts.models, undefined);
    const adapters = servedAdapters(parts.models);
    return context.json({
      model_alias: id,
      model_kind: model.kind,
      base_model: adapters?.base ?? parts.fineTuning?.base ?? id,
      total_slots: parts.parallel,
      max_concurrent_requests: parts.admission.most,
      default_generation_settings: {
        n_ctx: model.contextSize ?? null,
        n_predict: parts.maxTokens ?? -1,
      },
      features: {
        chat: model.kind === "causal" && model.hasTemplate,
        adapters: adapters !== undefined,
        adapter_loading: adapters?.loadsByRequest ?? false,
        adapter_merging: adapters?.merges ?? false,
        fine_tuning: parts.fineTuning !== undefined,
      },
      build_info: `graft-${VERSION}`,
    });
  };
}

export function prometheus({ metrics }: ServerParts): Handler {
  return async () =>
    new Response(await metrics.text(), { headers: { "content-type": metrics.contentType } });
}
