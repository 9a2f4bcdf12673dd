/** A node of a SuperLink: registered, alive by its heartbeats, taking messages and answering them. */
import { EXIT } from "../../errors.ts";
import { sleep, sleepUnlessAborted } from "../../system/sleep.ts";
import { backOff } from "./back_off.ts";
import { RunEndedError, SuperLinkError, UnknownNodeError } from "./fleet_error.ts";
import type { FleetCall, FleetHttp } from "./fleet_http.ts";
import type { NodeIdentity } from "./identity.ts";
import { encodeReply, type MessageHeader, readHeader, type ReplyError } from "./message.ts";
import { LONGEST_MS, PollPace } from "./poll_pace.ts";
import { type PulledRecords, pullRecords, type WantedRecords } from "./pull_records.ts";
import type { Records } from "./records.ts";

/** Seconds that a node counts as alive after a heartbeat are twice this; Flower's own default. */
const HEARTBEAT_SECONDS = 30;
/** A node that asks for messages rarely, because the SuperLink has much to do, has more time for this. */
const QUESTIONS_A_HEARTBEAT = 3;
/** Share of that after which the next one is sent, and how much chance adds to it. */
const [SHARE, CHANCE] = [0.4, 0.35];
/** Seconds after which a node without heartbeats counts as gone. */
const MISSED_SECONDS = 2 * QUESTIONS_A_HEARTBEAT * LONGEST_MS / 1000 + 10;
/** Flower's `ApiErrorCode.PUBLIC_KEY_ALREADY_IN_USE`. */
const KEY_IN_USE = 23;
/** A reply is lost if its node leaves within two seconds (measured with flwr 1.42). */
const SETTLE_MS = 3000;
/** Tries of calls at the end, which nobody needs. */
const LAST_TRIES = 1;
/** Bytes of an answer around an object's content. */
const ANSWER_MARGIN = 1024;

export interface NodeOptions {
  readonly identity: NodeIdentity;
  /** Its number when it was last at this SuperLink. */
  readonly knownId?: bigint;
  /** Told of its number, to be kept for the next start. */
  readonly onId?: (id: bigint) => void;
  /** Told what happens; a sentence. */
  readonly onNote?: (line: string) => void;
  /** Milliseconds between questions for messages to a SuperLink that has little to do. */
  readonly pollMs?: number;
}

export class FleetNode {
  readonly #http: FleetHttp;
  readonly #identity: NodeIdentity;
  readonly #onNote: (line: string) => void;
  readonly #onId: (id: bigint) => void;
  #knownId: bigint | undefined;
  #id = 0n;
  #heartbeat: ReturnType<typeof setTimeout> | undefined;
  /** Seconds between heartbeats that the SuperLink was told last. */
  #toldInterval = HEARTBEAT_SECONDS;
  readonly #ending = new AbortController();
  readonly #pace: PollPace;
  /** A fleet that joins at once keeps the SuperLink busy before it has asked for anything. */
  readonly #onWaited = (milliseconds: number) => this.#pace.answered(milliseconds);
  #hasAsked = false;
  #answeredAt = -Infinity;

  constructor(
    http: FleetHttp,
    { identity, knownId, onId = () => {}, onNote = () => {}, pollMs }: NodeOptions,
  ) {
    this.#pace = new PollPace(pollMs);
    this.#http = http;
    this.#identity = identity;
    this.#knownId = knownId;
    this.#onId = onId;
    this.#onNote = onNote;
  }

  /** The node's number at the SuperLink; 0 before it has joined. */
  get id(): bigint {
    return this.#id;
  }

  /**
   * Registers and activates the node, and keeps it alive from then on.
   *
   * @throws {SuperLinkError} if the SuperLink takes no nodes that it does not know
   */
  async join(signal?: AbortSignal): Promise<void> {
    await this.#activate(signal);
    this.#beatLater();
  }

  /** A key that is registered already, by an earlier start or by an operator, keeps its node. */
  async #activate(signal?: AbortSignal): Promise<void> {
    const refused = await this.#register(signal);
    this.#id = await this.#activated(refused, signal);
    if (this.#id === this.#knownId) return;
    this.#knownId = this.#id;
    this.#onId(this.#id);
  }

  /** @returns why the SuperLink did not register the key, which may be there already */
  async #register(signal?: AbortSignal): Promise<SuperLinkError | undefined> {
    const { publicKey } = this.#identity;
    try {
      await this.#http.call("register-node", { publicKey }, { signal, onWaited: this.#onWaited });
    } catch (error) {
      if (error instanceof SuperLinkError && error.exitCode === EXIT.access) return error;
      throw error;
    }
  }

  async #activated(refused: SuperLinkError | undefined, signal?: AbortSignal): Promise<bigint> {
    const { publicKey } = this.#identity;
    const request = { publicKey, heartbeatInterval: HEARTBEAT_SECONDS };
    const began = performance.now();
    for (let tries = 1;; tries++) {
      try {
        const options = { signal, onWaited: this.#onWaited };
        const { nodeId } = await this.#http.call("activate-node", request, options);
        this.#toldInterval = HEARTBEAT_SECONDS;
        return nodeId;
      } catch (error) {
        if (!(error instanceof SuperLinkError)) throw error;
        if (refused !== undefined && refused.flowerCode !== KEY_IN_USE) {
          throw new SuperLinkError(
            `${refused.message} For a SuperLink that takes registered nodes only, give it this box's ` +
              "public key: `flwr supernode register key.pub`",
          );
        }
        // A node that ended without leaving counts as active until its heartbeats are missed, and so does one
        // that an overloaded SuperLink has activated without an answer.
        if (await this.#isAlive(signal)) return this.#knownId!;
        const isKeyElsewhere = refused !== undefined &&
          performance.now() - began > 1000 * MISSED_SECONDS;
        if (isKeyElsewhere) throw error;
        if (tries === 1) this.#onNote(`${error.message}; trying again`);
        await sleepUnlessAborted(backOff(tries), signal);
      }
    }
  }

  /** Whether the SuperLink takes heartbeats of the node that this box was. */
  async #isAlive(signal?: AbortSignal): Promise<boolean> {
    if (this.#knownId === undefined) return false;
    const request = { node: { nodeId: this.#knownId }, heartbeatInterval: HEARTBEAT_SECONDS };
    try {
      return (await this.#http.call("send-node-heartbeat", request, { signal })).success;
    } catch (error) {
      if (error instanceof UnknownNodeError) return false;
      throw error;
    }
  }

  /** Seconds between heartbeats that the SuperLink is told. */
  get #heartbeatInterval(): number {
    return Math.max(HEARTBEAT_SECONDS, QUESTIONS_A_HEARTBEAT * this.#pace.intervalMs / 1000);
  }

  #beatLater(): void {
    const seconds = this.#toldInterval * (SHARE + CHANCE * Math.random());
    this.#heartbeat = setTimeout(() => this.#beat().then(() => this.#beatLater()), 1000 * seconds);
    Deno.unrefTimer(this.#heartbeat);
  }

  async #beat(): Promise<void> {
    const { signal } = this.#ending;
    try {
      const heartbeatInterval = this.#heartbeatInterval;
      const request = { node: { nodeId: this.#id }, heartbeatInterval };
      const { success } = await this.#call("send-node-heartbeat", request, { signal });
      if (success) this.#toldInterval = heartbeatInterval;
      else await this.#activate(signal);
    } catch (error) {
      // What is wrong is told where it matters: when messages are asked for.
      if (!signal.aborted) this.#onNote(`No heartbeat: ${(error as Error).message}`);
    }
  }

  /** Calls as a node; if the SuperLink has forgotten it, joins anew first. */
  #call: FleetHttp["call"] = async (name, request, options) => {
    try {
      return await this.#http.call(name, request, options);
    } catch (error) {
      if (!(error instanceof UnknownNodeError)) throw error;
      const before = this.#id;
      await this.#activate(options?.signal);
      if (this.#id === before) {
        throw new SuperLinkError("The SuperLink takes this box's key, and not its signature");
      }
      this.#onNote(`The SuperLink knew this box no longer; it is node ${this.#id} now`);
      // A message to the node that was is gone with it.
      if (!REPEATABLE.has(name)) throw new RunEndedError(name);
      const node = { nodeId: this.#id };
      return await this.#http.call(name, { ...request, node }, options);
    }
  };

  /**
   * The next message, if there is one.
   *
   * @throws {BadInputError} for one that cannot be answered; the next call goes on behind it
   */
  async receive(signal?: AbortSignal): Promise<MessageHeader | undefined> {
    if (!this.#hasAsked) await sleepUnlessAborted(this.#pace.firstWaitMs(), signal);
    this.#hasAsked = true;
    const node = { nodeId: this.#id };
    const options = { signal, onWaited: this.#onWaited };
    const { messagesList } = await this.#call("pull-messages", { node }, options);
    const [message] = messagesList;
    return message === undefined ? undefined : readHeader(message.metadata, this.#id);
  }

  /** Milliseconds to wait before asking for the next message, if there was none. */
  pauseMs(): number {
    return this.#pace.waitMs();
  }

  /**
   * Fetches what a message holds.
   *
   * @param mostBytes that vectors may take
   * @throws {BadInputError} for content that is not what its names say, or too large
   * @throws {RunEndedError} if nobody waits for an answer any longer
   */
  async fetch(
    header: MessageHeader,
    wanted: WantedRecords,
    mostBytes: number,
    signal?: AbortSignal,
  ): Promise<PulledRecords> {
    return await pullRecords(
      header.messageId,
      wanted,
      mostBytes,
      (id, limit) => this.#pullObject(header, id, limit, signal),
    );
  }

  /** A server announces the messages of a round before it stores what they hold: of many boxes, minutes before. */
  async #pullObject(
    { runId, expires }: MessageHeader,
    objectId: string,
    limit: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const request = { node: { nodeId: this.#id }, runId, objectId };
    for (let tries = 1;; tries++) {
      const options = { signal, limit: limit + ANSWER_MARGIN };
      const answer = await this.#call("pull-object", request, options);
      if (answer.objectFound && answer.objectAvailable) return answer.objectContent;
      const isOver = Date.now() / 1000 > expires;
      if (!answer.objectFound || isOver) throw new RunEndedError("pull-object");
      await sleepUnlessAborted(backOff(tries), signal);
    }
  }

  /** Tells the SuperLink that a message need not be kept any longer. */
  async confirm({ runId, messageId }: MessageHeader, signal?: AbortSignal): Promise<void> {
    const request = { node: { nodeId: this.#id }, runId, messageObjectId: messageId };
    await this.#call("confirm-message-received", request, { signal });
  }

  /**
   * Answers a message.
   *
   * @param made seconds since 1970 when the answer was made, which is part of its name: an answer of which a
   * part was sent before goes on
   * @param seconds that the work took
   * @throws {RunEndedError} if nobody waits for the answer any longer
   */
  async reply(
    header: MessageHeader,
    content: Records | ReplyError,
    { made, seconds }: { readonly made: number; readonly seconds: number },
    signal?: AbortSignal,
  ): Promise<void> {
    const { message, tree, objects } = encodeReply(header, content, made);
    const node = { nodeId: this.#id };
    const { objectsToPush, sessionId } = await this.#call("push-messages", {
      node,
      messagesList: [message],
      messageObjectTrees: [tree],
      clientappRuntimeList: [seconds],
    }, { signal });
    for (const objectId of objectsToPush) {
      const object = objects.get(objectId);
      if (object === undefined) continue;
      const { runId } = header;
      const request = { node, runId, objectId, objectContent: object.content, sessionId };
      const { stored } = await this.#call("push-object", request, { signal });
      if (!stored) throw new RunEndedError("push-object");
    }
    this.#answeredAt = performance.now();
  }

  /**
   * Ends the heartbeats, and tells the SuperLink so.
   *
   * @param options.tell whether to tell it; otherwise the node counts as alive for a minute more
   */
  async leave({ tell }: { readonly tell: boolean }): Promise<void> {
    clearTimeout(this.#heartbeat);
    this.#ending.abort(new Error("The node leaves"));
    if (!tell || this.#id === 0n) return;
    const settled = this.#answeredAt + SETTLE_MS - performance.now();
    if (settled > 0) await sleep(settled);
    try {
      await this.#http.call("deactivate-node", { nodeId: this.#id }, { tries: LAST_TRIES });
    } catch (error) {
      this.#onNote(
        `The SuperLink does not know that this box has left: ${(error as Error).message}`,
      );
    }
  }
}

/** Calls that mean the same to a node of another number. */
const REPEATABLE: ReadonlySet<FleetCall> = new Set(["pull-messages", "send-node-heartbeat"]);
