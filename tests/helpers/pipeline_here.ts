/** The stages of a pipeline as tasks of this process: what they send lies in its memory. */
import type { Neighbour, Pipeline } from "../../src/train/pipeline.ts";

/** Makes the links of all stages. */
export function pipelineHere(stages: number): readonly Pipeline[] {
  const queues = new Map<string, Queue>();
  const queue = (from: number, to: number) => {
    const key = `${from}-${to}`;
    if (!queues.has(key)) queues.set(key, new Queue());
    return queues.get(key)!;
  };
  return Array.from({ length: stages }, (_, stage): Pipeline => {
    const numberOf = (neighbour: Neighbour) => neighbour === "next" ? stage + 1 : stage - 1;
    return {
      stage,
      stages,
      send(to, bytes) {
        queue(stage, numberOf(to)).put(bytes);
        return Promise.resolve();
      },
      receive(from, sizeBytes) {
        const next = queue(numberOf(from), stage).take();
        return {
          async arrived() {
            const bytes = await next;
            if (bytes.length !== sizeBytes) {
              throw new RangeError(`${bytes.length} bytes came, ${sizeBytes} were expected`);
            }
            return bytes;
          },
        };
      },
    };
  });
}

class Queue {
  readonly #sent: Uint8Array<ArrayBuffer>[] = [];
  readonly #waiting: ((bytes: Uint8Array<ArrayBuffer>) => void)[] = [];

  put(bytes: Uint8Array<ArrayBuffer>): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#sent.push(bytes);
    else waiting(bytes);
  }

  take(): Promise<Uint8Array<ArrayBuffer>> {
    const sent = this.#sent.shift();
    if (sent !== undefined) return Promise.resolve(sent);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
