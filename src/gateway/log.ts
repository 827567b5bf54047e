/**
 * Room `gateway`: the log of what went wrong, one line each on standard error, with a bound: a failing upstream must not turn
 * into a disk full of the same line.
 */
const LINES_PER_SECOND_MAX = 20;

export class Log {
  private readonly write: (line: string) => void;
  private second = 0;
  private lines = 0;
  private suppressed = 0;

  constructor(write: (line: string) => void) {
    this.write = write;
  }

  /** At most LINES_PER_SECOND_MAX lines in a second are written; what is left out is counted and told with the next one. */
  line(text: string): void {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.second) {
      this.second = second;
      this.lines = 0;
      if (this.suppressed > 0)
        this.write(`${new Date(now).toISOString()} ${this.suppressed} further lines were left out\n`);
      this.suppressed = 0;
    }
    if (this.lines++ < LINES_PER_SECOND_MAX) this.write(`${new Date(now).toISOString()} ${text}\n`);
    else this.suppressed++;
  }
}
