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
 * Ends a session's profile and reads it. What a provider compiled is one node of a profile: releases
 * from 1.24 on also tell the nodes in it, though not those of every provider.
 */
export function placementOf(session: Session): Placement {
  const path = session.endProfiling();
  let ran: Placement;
  try {
    ran = placementOfProfile(Deno.readTextFileSync(path));
  } finally {
    Deno.removeSync(path);
  }
  return new Map([...ran, ...countPlacement(assignedNodes(session) ?? [])]);
}
