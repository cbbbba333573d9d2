import type { Transport } from '../../src/cluster/transport.ts'
import type { Random } from '../loss/random.ts'
import type { Process, Scheduler } from './scheduler.ts'

/** How long it takes a node to notice that it is cut off, and that it is not any more, milliseconds. */
const NOTICE = 600

/** One node's way to the others and to the registry. */
export class Line {
  readonly node: string
  readonly process: Process
  /** What the node thinks. */
  isConnected = true
  onMessage: (message: string) => void = () => {}
  readonly onChange: ((isConnected: boolean) => void)[] = []

  constructor(node: string, process: Process) {
    this.node = node
    this.process = process
  }
}

/**
 * What is between nodes. Messages of a pair keep their order; they take some time, and are lost where
 * something is cut.
 */
export class Network {
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #lines = new Set<Line>()
  /** Nodes that reach nobody. */
  readonly cut = new Set<string>()
  /** Pairs of nodes, "one two", that do not reach each other. */
  readonly cutPairs = new Set<string>()
  /** Nobody reaches anybody, for what is between them is away. */
  isDown = false
  /** How many of a hundred messages are lost. */
  loss = 0
  /** Milliseconds at most. */
  delay = 3
  /** When the last message of a pair arrives. */
  readonly #arrivals = new Map<string, number>()

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler
    this.#random = random
  }

  reaches(node: string): boolean {
    return !this.isDown && !this.cut.has(node)
  }

  open(node: string, process: Process): Line {
    const line = new Line(node, process)
    line.isConnected = this.reaches(node)
    this.#lines.add(line)
    return line
  }

  close(line: Line): void {
    this.#lines.delete(line)
  }

  /** What was cut, or is whole again, is noticed after a while. */
  changed(): void {
    for (const line of this.#lines) {
      const isReaching = this.reaches(line.node)
      if (line.isConnected === isReaching) continue
      this.#scheduler.in(
        this.#random.whole(50, NOTICE),
        () => {
          // Only what lasts is noticed.
          if (this.reaches(line.node) !== isReaching || line.isConnected === isReaching) return
          line.isConnected = isReaching
          for (const tell of line.onChange) tell(isReaching)
        },
        line.process,
      )
    }
  }

  transport(line: Line): Transport {
    let isClosed = false
    const transport: Transport = {
      get isConnected() {
        return line.isConnected
      },
      send: (node, message) => {
        if (!isClosed && line.isConnected) this.#send(line.node, node, message)
      },
      broadcast: (message) => {
        if (isClosed || !line.isConnected) return
        const others = new Set([...this.#lines].map(({ node }) => node))
        for (const node of others) this.#send(line.node, node, message, line)
      },
      set onMessage(onMessage: (message: string) => void) {
        line.onMessage = onMessage
      },
      onReconnected: () => {},
      close: async () => {
        isClosed = true
        this.close(line)
      },
    }
    line.onChange.push((isConnected) => {
      if (isConnected) transport.onReconnected()
    })
    return transport
  }

  #send(from: string, to: string, message: string, except?: Line): void {
    if (!this.reaches(from) || !this.reaches(to) || this.cutPairs.has(pairOf(from, to))) return
    if (this.loss > 0 && this.#random.whole(1, 100) <= this.loss) return
    const pair = `${from} ${to}`
    const arrival = this.#scheduler.now + this.#random.next() * this.delay
    const at = Math.max(arrival, this.#arrivals.get(pair) ?? 0)
    this.#arrivals.set(pair, at)
    for (const line of this.#lines) {
      if (line.node !== to || line === except) continue
      this.#scheduler.at(
        at,
        () => {
          if (this.#lines.has(line)) line.onMessage(message)
        },
        line.process,
      )
    }
    // What is under way when something is cut is lost as well: a part of it.
  }
}

export function pairOf(one: string, other: string): string {
  return one < other ? `${one} ${other}` : `${other} ${one}`
}
