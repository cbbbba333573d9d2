/** A stanza that a client got, as that client understood it. Absent attributes are ''. */
export interface Received {
  readonly kind: 'message' | 'presence' | 'iq'
  readonly from: string
  readonly to: string
  readonly type: string
  readonly id: string
  /** Empty if there is none; of a carbon the body inside. */
  readonly body: string
  /** When a delayed stanza was sent (XEP-0203), as written there. */
  readonly stamp: string
  readonly carbon: '' | 'sent' | 'received'
  readonly xml: string
}

/** Fields that a received stanza must have; a regular expression need only be found in them. */
export type Expected = { readonly [K in keyof Received]?: Received[K] | RegExp }

/** After so long without what a test waits for, it fails; nothing else depends on it. */
export const PATIENCE_SECONDS = 30

/** `promise`, or a failure after so long. */
export async function within<T>(seconds: number, promise: Promise<T>, what: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${what} after ${seconds} s`)), seconds * 1000)
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** What a client received and no test took yet. */
export class Inbox {
  readonly #received: Received[] = []
  readonly #waiting = new Set<() => void>()
  #end: Error | undefined

  add(received: Received): void {
    this.#received.push(received)
    for (const look of this.#waiting) look()
  }

  /** Nothing more will come: whoever waits fails with the reason. */
  close(reason: Error): void {
    this.#end ??= reason
    for (const look of this.#waiting) look()
  }

  /** Takes the first stanza that fits, now or once it comes. */
  take(expected: Expected): Promise<Received> {
    const { promise, resolve, reject } = Promise.withResolvers<Received>()
    const finish = (settle: () => void) => {
      clearTimeout(timer)
      this.#waiting.delete(look)
      settle()
    }
    const fail = (reason: string) => {
      finish(() => reject(new Error(`${reason}\nwanted ${show(expected)}\nhas ${this}`)))
    }
    const look = () => {
      const index = this.#received.findIndex((candidate) => fits(candidate, expected))
      const [found] = index < 0 ? [] : this.#received.splice(index, 1)
      if (found !== undefined) finish(() => resolve(found))
      else if (this.#end !== undefined) fail(this.#end.message)
    }
    const timer = setTimeout(
      () => fail(`nothing that fits in ${PATIENCE_SECONDS} s`),
      PATIENCE_SECONDS * 1000,
    )
    this.#waiting.add(look)
    look()
    return promise
  }

  /** Those that are there and fit, without taking them. */
  peek(expected: Expected): Received[] {
    return this.#received.filter((candidate) => fits(candidate, expected))
  }

  toString(): string {
    if (this.#received.length === 0) return 'nothing'
    return this.#received.map(({ xml }) => `\n  ${xml}`).join('')
  }
}

function fits(received: Received, expected: Expected): boolean {
  for (const key of Object.keys(expected) as (keyof Received)[]) {
    const wanted = expected[key]
    const value = received[key]
    if (wanted instanceof RegExp ? !wanted.test(value) : wanted !== value) return false
  }
  return true
}

function show(expected: Expected): string {
  return Object.entries(expected)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')
}
