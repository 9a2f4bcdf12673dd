/** Releases, orders, reports and keys of fleets, as tests need them. */
import { createPublicKey } from "node:crypto";
import {
  generateKeys,
  parseSigningKey,
  type SigningKey,
  type TrustedKeys,
} from "../../src/fleet/release/keys.ts";
import { digestOf } from "../../src/fleet/operator/release_files.ts";
import { type Order, type Release, releaseId } from "../../src/fleet/release/order.ts";
import type { BoxReport } from "../../src/fleet/release/report.ts";

export interface KeyPair {
  readonly key: SigningKey;
  readonly keys: TrustedKeys;
  readonly publicKey: string;
}

export function keyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeys();
  const key = parseSigningKey(privateKey, "test.key");
  return { key, keys: new Map([[key.id, createPublicKey(key.key)]]), publicKey };
}

/** A release of one file with this text. */
export function releaseOf(text: string, name = "0007", publishedAt = "2026-01-02T03:04:05.678Z") {
  const bytes = new TextEncoder().encode(text);
  const file = {
    name: "adapter/a.safetensors",
    sizeBytes: bytes.length,
    pieces: [digestOf(bytes)],
  };
  return { name, kind: "adapter", publishedAt, files: [file] } satisfies Release;
}

export function orderOf(more: Partial<Order> = {}): Order {
  return {
    fleet: "graft",
    sequence: 7,
    issuedAt: "2026-01-02T03:04:05.678Z",
    target: releaseOf("adapter"),
    withdrawn: [],
    waves: ["10%", "100%"],
    wave: 0,
    open: 1,
    policy: { minReported: 0.9, maxRejected: 0.1, soakSeconds: 0 },
    why: "a test",
    ...more,
  };
}

/** A report about an order. */
export function reportOf(
  box: string,
  order: Order,
  state: BoxReport["state"],
  more: Partial<BoxReport> = {},
): BoxReport {
  return {
    box,
    state,
    sequence: order.sequence,
    release: order.target === null ? null : releaseId(order.target),
    inUse: "base",
    at: "2026-01-02T03:04:05.678Z",
    version: "0.1.0",
    ...more,
  };
}
