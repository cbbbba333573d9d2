import type { Progress } from '../core/command.ts'

type Terminal = {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write(text: string): unknown
}

const WIDTH = 30
const CLEAR = '\r\x1b[K'

/** One line that says how far long work has come, drawn again and again; nothing without a terminal. */
export class ProgressBar {
  readonly #terminal: Terminal
  #isShown = false

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  show(progress: Progress): void {
    const { isTTY, columns = 80 } = this.#terminal
    if (isTTY !== true) return
    this.#isShown = true
    this.#terminal.write(CLEAR + line(progress).slice(0, columns - 1))
  }

  /** Makes room for what comes next. */
  clear(): void {
    if (this.#isShown) this.#terminal.write(CLEAR)
    this.#isShown = false
  }
}

function line({ done, total, of }: Progress): string {
  if (total === undefined || total === 0) return `${done} ${of}`
  const part = Math.min(1, done / total)
  const filled = Math.round(part * WIDTH)
  const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled)
  return `${bar} ${Math.floor(part * 100)} %  ${done} of ${total} ${of}`
}
