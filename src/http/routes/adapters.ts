/**
 * Changes of adapters: `/v1/load_lora_adapter`, `/v1/rollback_lora_adapter`, `/v1/unload_lora_adapter`,
 * `/lora-adapters`.
 */
import { ApiError } from "../api_error.ts";
import type { Adapters, NamedAdapter } from "../adapters.ts";
import { parseBody } from "../parse_body.ts";
import { adapterScales, changeAdapterRequest, loadAdapterRequest } from "../schemas/adapter.ts";
import { chosenModel } from "../served_model.ts";
import type { Handler, ServerParts } from "../server_parts.ts";

/** @throws {ApiError} if the model takes none */
function adaptersOf({ models }: ServerParts): Adapters {
  const { adapters } = chosenModel(models, undefined);
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
    });
    return context.json(changed(adapter, "loaded"));
  };
}

export function rollBackAdapter(parts: ServerParts): Handler {
  return async (context) => {
    const request = await parseBody(context, changeAdapterRequest);
    const adapter = await adaptersOf(parts).rollBack(request.lora_name, {
      expectedGeneration: request.expected_generation ?? undefined,
    });
    return context.json(changed(adapter, "rolled_back"));
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
    return context.json(
      adapters.list().map(({ id, name, rank, generation, path, previous }) => ({
        id,
        name,
        path,
        scale: adapters.usualScale(id),
        rank,
        adapter_generation: generation,
        previous_path: previous?.path ?? null,
      })),
    );
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

const changed = ({ name, id, rank, generation }: NamedAdapter, status: string) => ({
  status,
  lora_name: name,
  id,
  rank,
  adapter_generation: generation,
});
