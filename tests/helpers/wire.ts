/**
 * Boards on a wire, on one machine: a network namespace for each, joined by a bridge in a namespace of its
 * own. A board reaches the others over its cable alone, so that its counters prove what was sent. Needs
 * root and iproute2; losses need nftables.
 */

/** Addresses are PREFIX.1, PREFIX.2 …, by board. */
const PREFIX = "10.77.0";
/** Cards hand the kernel up to this many bytes at once (segmentation offload): a bucket must hold them. */
const BURST_BYTES = 65536;
/** What waits at a full wire, as in a switch. */
const QUEUE_BYTES = 512 * 1024;

/** How a wire is laid. */
export interface WireOptions {
  /** Bits per second that each cable takes in each direction; as many as the machine can if absent. */
  readonly bitsPerSecond?: number;
}

/** Bytes that went through a board's cable. */
export interface WireBytes {
  readonly sent: number;
  readonly received: number;
}

let laid = 0;

/** Network namespaces that are removed, with the processes in them, by disposing of this. */
export class Wire implements Disposable {
  readonly #name: string;
  /** Boards on the wire. */
  readonly boards: number;

  /**
   * Lays a wire.
   *
   * @throws {Error} if the system does not allow it
   */
  constructor(boards: number, { bitsPerSecond }: WireOptions = {}) {
    this.boards = boards;
    this.#name = `graft-${Deno.pid}-${laid++}`;
    const hub = this.#hub;
    try {
      ip("netns", "add", hub);
      ip("-n", hub, "link", "add", "bridge", "type", "bridge");
      ip("-n", hub, "link", "set", "bridge", "up");
      for (let board = 0; board < boards; board++) this.#plug(board);
      if (bitsPerSecond !== undefined) this.limit(bitsPerSecond);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #plug(board: number): void {
    const [namespace, hub] = [this.namespaceOf(board), this.#hub];
    ip("netns", "add", namespace);
    ip("-n", namespace, "link", "set", "lo", "up");
    // deno-fmt-ignore
    ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", portOf(board), "netns", hub);
    ip("-n", namespace, "addr", "add", `${this.addressOf(board)}/24`, "dev", "eth0");
    ip("-n", namespace, "link", "set", "eth0", "up");
    ip("-n", hub, "link", "set", portOf(board), "master", "bridge", "up");
  }

  get #hub(): string {
    return `${this.#name}-hub`;
  }

  /** Namespace of a board, as `ip netns` knows it. */
  namespaceOf(board: number): string {
    return `${this.#name}-${board}`;
  }

  /** Internet address of a board. */
  addressOf(board: number): string {
    return `${PREFIX}.${board + 1}`;
  }

  /** Words before a command that a board is to run. */
  on(board: number): string[] {
    return ["ip", "netns", "exec", this.namespaceOf(board)];
  }

  /**
   * Writes a program that runs commands on boards as `ssh HOST COMMAND…` does, for launchers.
   *
   * @param before shell commands that run on the board first, with its number in `$board`
   */
  writeRemoteShell(path: string, before = ":"): void {
    const script = `#!/bin/sh
[ "$1" = -x ] && shift
board=$((\${1##*.} - 1))
shift
export board
exec ip netns exec ${this.#name}-$board sh -c "${before} && exec $*"
`;
    Deno.writeTextFileSync(path, script, { mode: 0o755 });
  }

  /** Limits what each cable takes in each direction. */
  limit(bitsPerSecond: number): void {
    for (let board = 0; board < this.boards; board++) {
      for (const [namespace, device] of this.#ends(board)) {
        // deno-fmt-ignore
        run(["tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "tbf",
          "rate", `${bitsPerSecond}bit`, "burst", `${BURST_BYTES}`, "limit", `${QUEUE_BYTES}`]);
      }
    }
  }

  /** The two ends of a board's cable. */
  #ends(board: number): readonly (readonly [namespace: string, device: string])[] {
    return [[this.namespaceOf(board), "eth0"], [this.#hub, portOf(board)]];
  }

  /** Pulls a board's cable. */
  pull(board: number): void {
    ip("-n", this.#hub, "link", "set", portOf(board), "down");
  }

  /** Puts it back. */
  putBack(board: number): void {
    ip("-n", this.#hub, "link", "set", portOf(board), "up");
  }

  /** Loses this share of the packets that reach a board, at random. */
  lose(board: number, percent: number): void {
    const filter = `iifname "eth0" numgen random mod 1000 < ${Math.round(10 * percent)}`;
    const rules = "add table inet loss; " +
      "add chain inet loss input { type filter hook input priority 0; }; " +
      `add rule inet loss input ${filter} counter drop`;
    run([...this.on(board), "nft", rules]);
  }

  /** Packets that {@linkcode lose} has dropped so far. */
  lost(board: number): number {
    const rules = run([...this.on(board), "nft", "list", "table", "inet", "loss"]);
    return Number(/counter packets (\d+)/.exec(rules)?.[1]);
  }

  /** What went through a board's cable so far. */
  bytes(board: number): WireBytes {
    const told = ip("-n", this.namespaceOf(board), "-j", "-s", "link", "show", "eth0");
    const [{ stats64: { tx, rx } }] = JSON.parse(told);
    return { sent: tx.bytes, received: rx.bytes };
  }

  /** Processes that run on the boards. */
  processes(): readonly number[] {
    return this.#namespaces().flatMap((name) =>
      ip("netns", "pids", name).split("\n").filter((line) => line !== "").map(Number)
    );
  }

  #namespaces(): readonly string[] {
    return ip("netns", "list").split("\n")
      .map((line) => line.split(" ")[0])
      .filter((name) => name.startsWith(`${this.#name}-`));
  }

  /** Ends all processes on the boards, and removes the wire. */
  [Symbol.dispose](): void {
    for (const pid of this.processes()) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    }
    for (const name of this.#namespaces()) ip("netns", "delete", name);
  }
}

/** Why no wire can be laid here, `undefined` if one can. */
export function wireMissing(): string | undefined {
  try {
    using wire = new Wire(1, { bitsPerSecond: 1e9 });
    wire.lose(0, 1);
    return undefined;
  } catch (error) {
    return `network namespaces with tbf and nftables are missing here (${
      (error as Error).message
    })`;
  }
}

const portOf = (board: number) => `port${board}`;

const ip = (...words: string[]) => run(["ip", ...words]);

/** Runs a program to its end, and returns what it printed. */
function run([program, ...args]: readonly string[]): string {
  const { success, stdout, stderr } = new Deno.Command(program, { args }).outputSync();
  const text = new TextDecoder();
  if (success) return text.decode(stdout);
  throw new Error(`${program} ${args.join(" ")}: ${text.decode(stderr).trim()}`);
}
