/** Loaded by `campaign:stalls` into processes of tests: they stand still at times that differ from run to run. */

/** Milliseconds between two stalls at most. */
const BETWEEN_MS = 4000;
/** Milliseconds of a stall at most: machines of CI were seen to stop a test for this long. */
const STALL_MS = 3000;

const never = new Int32Array(new SharedArrayBuffer(4));

function standStill(): void {
  const stall = () => {
    Atomics.wait(never, 0, 0, Math.random() * STALL_MS);
    standStill();
  };
  Deno.unrefTimer(setTimeout(stall, Math.random() * BETWEEN_MS));
}

standStill();
