/** `OrtApi`, ONNX Runtime's function table, as typed functions. */
import type { Handle } from "./pointer.ts";
import { SLOTS } from "./slots.ts";

type Slots = typeof SLOTS;

/** The bound functions, under their C names. */
export type Api = {
  readonly [Name in keyof Slots]: Deno.UnsafeFnPointer<Slots[Name]>["call"];
};

/** An opened ONNX Runtime library. */
export interface Ort {
  /** Where the library was loaded from. */
  readonly path: string;
  /** E.g. `"1.30.0"`. */
  readonly version: string;
  readonly api: Api;
  /** The function table itself, for functions that later releases have added. */
  readonly table: Handle;
  /** The default CPU allocator: owned by the library, never released. */
  readonly allocator: Handle;
}

/** Binds every slot of the function table at `table`. */
export function bindApi(table: Handle): Api {
  const view = new Deno.UnsafePointerView(table);
  const bound: Record<string, unknown> = {};
  for (const [name, slot] of Object.entries(SLOTS)) {
    const address = view.getPointer(8 * slot.slot);
    if (address === null) throw new TypeError(`OrtApi has no function ${name}`);
    const pointer = new Deno.UnsafeFnPointer(address as Deno.PointerObject<typeof slot>, slot);
    bound[name] = pointer.call.bind(pointer);
  }
  return bound as Api;
}
