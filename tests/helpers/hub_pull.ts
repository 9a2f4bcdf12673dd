/** Pulls from a {@linkcode FakeHub} into a cache of the test's own. */
import { dirname, join } from "@std/path";
import { HubHttp } from "../../src/hub/http.ts";
import { pull, type Pulled, type PullRequest } from "../../src/hub/pull.ts";
import type { FakeHub } from "./fake_hub.ts";
import { filesIn } from "./files_in.ts";

/** Random bytes, the same each time. */
export function noise(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = seed;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** A cache in a temporary folder. */
export class TestCache implements Disposable {
  readonly root = Deno.makeTempDirSync({ prefix: "graft-hub-" });
  readonly path = join(this.root, "hub");
  /** Waits that a pull asked for, none of which took time. */
  readonly pausesMs: number[] = [];

  constructor(readonly hub: FakeHub) {}

  pull(
    request: Partial<PullRequest> = {},
    http: { token?: string; timeoutMs?: number; endpoint?: string } = {},
  ): Promise<Pulled> {
    const client = new HubHttp({
      endpoint: this.hub.endpoint,
      timeoutMs: 5000,
      ...http,
      signal: request.signal,
      pause: (ms, signal) => {
        signal?.throwIfAborted();
        this.pausesMs.push(ms);
        return Promise.resolve();
      },
    });
    return pull(client, {
      cache: this.path,
      repository: "org/tiny",
      revision: "main",
      include: ["*"],
      ...request,
    });
  }

  /** Everything in `snapshots`, by path from there. */
  get visible(): readonly string[] {
    return filesIn(join(this.path, "models--org--tiny", "snapshots"));
  }

  /** Bytes of partial files. */
  get partialBytes(): number {
    const blobs = join(this.path, "models--org--tiny", "blobs");
    return filesIn(blobs).filter((name) => name.endsWith(".incomplete"))
      .reduce((sum, name) => sum + Deno.statSync(join(blobs, name)).size, 0);
  }

  write(path: string, bytes: Uint8Array): void {
    Deno.mkdirSync(dirname(path), { recursive: true });
    Deno.writeFileSync(path, bytes);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.root, { recursive: true });
  }
}
