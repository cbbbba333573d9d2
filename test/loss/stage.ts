import { setTimeout as sleep } from 'node:timers/promises'
import type { Ledger } from './ledger.ts'
import type { Fault, Plan } from './plan.ts'
import type { Random } from './random.ts'

/** The way of one client to the servers. */
export interface Door {
  /** Where to connect, once there is somebody. */
  address(): Promise<number>
  /** That of its newest connection. */
  readonly node: number
  /** From the next connection on at this node, if it is there. */
  move(node: number): void
  /** How long a client waits until it is online before it tries elsewhere; 0: for ever. */
  readonly patience: number
  /** Called when its connection is to be given up, for its node is silent. */
  onForsaken: () => void
}

/** What the clients of a trial connect to, and what may happen to that. */
export interface Stage extends AsyncDisposable {
  /** Its files. */
  readonly directory: string
  /** What happened to it. */
  readonly figures: Readonly<Record<string, number>>
  start(): Promise<void>
  /** One for each client. `index`: its place among them. */
  door(index: number): Door
  /** Called before it happens. False: it has to wait for what goes on. */
  claim(fault: Fault): boolean
  happen(fault: Fault): Promise<void>
  /** Whether the servers agree on who is connected: `undefined`, or what they say. */
  disagreement(online: readonly string[]): Promise<string | undefined>
  /** In an orderly way. */
  stop(): Promise<void>
  remove(): Promise<void>
}

export type StageOptions = {
  readonly plan: Plan
  readonly ledger: Ledger
  readonly random: Random
  readonly note: (what: string) => void
  /** The server's program. */
  readonly main: string | undefined
}

const LOOK_AGAIN = 5

/** Resolves to what `look` finds, once it does. */
export async function untilThere<T>(look: () => T | undefined): Promise<T> {
  while (true) {
    const found = look()
    if (found !== undefined) return found
    await sleep(LOOK_AGAIN, undefined, { ref: false })
  }
}
