/** `OrtModelMetadata`: a model's producer, and its key-value pairs. */
import { create } from "./status.ts";
import { cString, Out, readCStrings } from "./pointer.ts";
import type { Session } from "./session.ts";
import { unwrap } from "./status.ts";

/** ORT's value for a model without a version: the largest int64. */
const NO_VERSION = (1n << 63n) - 1n;

/** A model's metadata. */
export interface ModelMetadata {
  readonly producer: string;
  readonly graphName: string;
  readonly domain: string;
  readonly description: string;
  /** Absent if the model declares none. */
  readonly version?: number;
  /** `metadata_props`. */
  readonly custom: Readonly<Record<string, string>>;
}

/** Reads a session's metadata. */
export function modelMetadata(session: Session): ModelMetadata {
  const { api, allocator } = session.ort;
  const metadata = create(api, (out) => api.SessionGetModelMetadata(session.handle, out));
  try {
    const text = (field: "ProducerName" | "GraphName" | "Domain" | "Description") =>
      session.takeString((out) => api[`ModelMetadataGet${field}`](metadata, allocator, out));
    const version = new Out();
    unwrap(api, api.ModelMetadataGetVersion(metadata, version.cell));
    const custom: [string, string][] = keys(session, metadata).map((key) => [
      key,
      session.takeString((out) =>
        api.ModelMetadataLookupCustomMetadataMap(metadata, allocator, cString(key), out)
      ),
    ]);
    return {
      producer: text("ProducerName"),
      graphName: text("GraphName"),
      domain: text("Domain"),
      description: text("Description"),
      ...(version.cell[0] !== NO_VERSION && { version: version.number }),
      custom: Object.fromEntries(custom),
    };
  } finally {
    api.ReleaseModelMetadata(metadata);
  }
}

function keys(session: Session, metadata: Deno.PointerObject): string[] {
  const { api, allocator } = session.ort;
  const list = new Out();
  const count = new Out();
  unwrap(
    api,
    api.ModelMetadataGetCustomMetadataMapKeys(metadata, allocator, list.cell, count.cell),
  );
  if (list.pointer === null) return [];
  // Each key and the array itself are allocated by the default allocator.
  const names = readCStrings(list.handle, count.number);
  const view = new Deno.UnsafePointerView(list.handle);
  for (let i = 0; i < names.length; i++) {
    unwrap(api, api.AllocatorFree(allocator, view.getPointer(8 * i)));
  }
  unwrap(api, api.AllocatorFree(allocator, list.pointer));
  return names;
}
