/**
 * Changes of adapters: `/v1/load_lora_adapter`, `/v1/rollback_lora_adapter`, `/v1/unload_lora_adapter`,
 * `/lora-adapters`.
 */
import type { Context } from "hono";
import { ApiError } from "../api_error.ts";
import type { Adapters } from "../adapters.ts";
import type { AdapterEntry } from "../named_adapter.ts";
import { parseBody } from "../parse_body.ts";
import { adapterScales, changeAdapterRequest, loadAdapterRequest } from "../schemas/adapter.ts";
import { chosenModel, servedAdapters } from "../served_model.ts";
import type { Handler, ServerParts } from "../server_parts.ts";

/** @throws {ApiError} if the model takes none */
function adaptersOf({ models }: ServerParts): Adapters {
  // Before a model is loaded nobody can tell.
  chosenModel(models, undefined);
  const adapters = servedAdapters(models);
  if (adapters !== undefined) return adapters;
  throw new ApiError(
    400,
    "This server takes no adapters",
    {
      code: "lora_loading_disabled",
    },
  );
}

export function loadAdapter(parts: ServerParts): Handler {
  return async (context) => {
    const request = await parseBody(context, loadAdapterRequest);
    const adapter = await adaptersOf(parts).loadFrom(request.lora_name, request.lora_path, {
      inPlace: request.load_inplace ?? undefined,
      expectedGeneration: request.expected_generation ?? undefined,
      way: request.way ?? undefined,
    });
    return changed(context, adapter, "loaded");
  };
}

export function rollBackAdapter(parts: ServerParts): Handler {
  return async (context) => {
    const request = await parseBody(context, changeAdapterRequest);
    const adapter = await adaptersOf(parts).rollBack(request.lora_name, {
      expectedGeneration: request.expected_generation ?? undefined,
    });
    return changed(context, adapter, "rolled_back");
  };
}

export function unloadAdapter(parts: ServerParts): Handler {
  return async (context) => {
    const request = await parseBody(context, changeAdapterRequest);
    const adapters = adaptersOf(parts);
    await adapters.unload(request.lora_name, {
      expectedGeneration: request.expected_generation ?? undefined,
    });
    return context.json({ status: "unloaded", lora_name: request.lora_name });
  };
}

export function listAdapters(parts: ServerParts): Handler {
  return (context) => {
    const adapters = adaptersOf(parts);
    return context.json(adapters.entries().map((entry) => adapterJson(entry, adapters)));
  };
}

function adapterJson(
  { id, name, current, pending, previous, merge }: AdapterEntry,
  adapters: Adapters,
) {
  const source = current?.source ?? pending;
  const times = current?.times;
  return {
    id,
    name,
    path: source?.path ?? merge?.path,
    scale: adapters.usualScale(id),
    rank: source?.rank ?? null,
    adapter_generation: current?.generation ?? 0,
    previous_path: previous?.path ?? null,
    way: current === undefined ? null : current.merged === undefined ? "bound" : "merged",
    merge: merge === undefined ? null : { ...merge, error: merge.error ?? null },
    mixable: current?.source.matrices !== undefined,
    gain_kept: current?.gainKept ?? null,
    ms_per_token: times === undefined ? null : times,
  };
}

export function listFolders(parts: ServerParts): Handler {
  return (context) =>
    context.json({
      object: "list",
      data: adaptersOf(parts).folders().map(({ path, created }) => ({
        object: "lora_folder",
        path,
        created_at: created,
      })),
    });
}

export function scaleAdapters(parts: ServerParts): Handler {
  return async (context) => {
    await adaptersOf(parts).setUsual(await parseBody(context, adapterScales));
    return context.json({ success: true });
  };
}

/** 202 if the adapter answers only once it is merged. */
function changed(
  context: Context,
  { name, id, current, pending }: AdapterEntry,
  status: string,
): Response {
  return context.json({
    status: pending === undefined ? status : "merging",
    lora_name: name,
    id,
    rank: (pending ?? current?.source)?.rank,
    adapter_generation: current?.generation ?? 0,
  }, pending === undefined ? 200 : 202);
}
