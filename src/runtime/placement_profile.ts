/** Where the nodes of a session ran, from the profile of its first run. */
import { join } from "@std/path";
import { assignedNodes, type Session } from "../../ffi/mod.ts";
import { countPlacement, type Placement, placementOfProfile } from "./placement.ts";

/** A path for ONNX Runtime to write a profile under; it adds the time. */
export function profilePrefix(): string {
  const folder = Deno.env.get("TMPDIR") || "/tmp";
  return join(folder, `graft-placement-${crypto.randomUUID()}`);
}

/**
 * Ends a session's profile, removes it and tells what is in it; nothing where the temporary folder
 * could not take it. What a provider compiled is one node of a profile: releases from 1.24 on also
 * tell the nodes in it, though not those of every provider.
 */
export function placementOf(session: Session): Placement {
  const profile = takeFile(session.endProfiling());
  if (profile === undefined) return new Map();
  const ran = placementOfProfile(profile);
  return new Map([...ran, ...countPlacement(assignedNodes(session) ?? [])]);
}

/** The text of a file, which is removed; `undefined` where there is none. */
function takeFile(path: string): string | undefined {
  try {
    const text = Deno.readTextFileSync(path);
    Deno.removeSync(path);
    return text;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
