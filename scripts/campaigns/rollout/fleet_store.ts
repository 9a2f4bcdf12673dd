/** The store of the campaign's fleet, which waits for a server that is away. */
import { openStore } from "../../../src/fleet/store/open_store.ts";
import type { FleetStore } from "../../../src/fleet/store/store.ts";

export function openPatient(server: string): Promise<FleetStore> {
  const settings = { server, name: "campaign", timeoutMs: 5000, patient: true };
  return openStore(settings, { bucket: "graft", replicas: 1 });
}
