/** Reads from the profile of a session's first run where its nodes ran. */
import { join } from "@std/path";
import { assignedNodes, type Session } from "../../ffi/mod.ts";
import { countPlacement, type Placement, placementOfProfile } from "./placement.ts";

/** A path prefix for ONNX Runtime's profile, to which it adds the time. */
export function profilePrefix(): string {
  const folder = Deno.env.get("TMPDIR") || "/tmp";
  return join(folder, `graft-placement-${crypto.randomUUID()}`);
}

/**
 * Ends a session's profile, removes the file and returns its content; empty if the temporary folder
 * could not store it. A subgraph that a provider compiled is one node of a profile: releases from 1.24
 * on also list its nodes, but not for every provider.
 */
export function placementOf(session: Session): Placement {
  const profile = takeFile(session.endProfiling());
  if (profile === undefined) return new Map();
  const ran = placementOfProfile(profile);
  return new Map([...ran, ...countPlacement(assignedNodes(session) ?? [])]);
}

/** Reads and removes a file; `undefined` if there is none. */
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
