/** Where the server listens, and how that changes. */
import type { ClientListener } from '../c2s/listener.ts'
import type { ComponentListener } from '../component/listener.ts'
import { type Endpoint, overlap } from '../config/listeners.ts'
import type { Config } from '../config.ts'
import type { Listener, ListenerOptions } from '../connection/listener.ts'
import type { ServerListener } from '../s2s/listener.ts'
import type { Step } from './step.ts'

export type ListenerOf = {
  readonly c2s: ClientListener
  readonly s2s: ServerListener
  readonly component: ComponentListener
}

type Kind = keyof ListenerOf

/** A listener as it is to be. */
export type WantedListener<K extends Kind = Kind> = {
  readonly kind: K
  readonly endpoint: Endpoint
  make(): ListenerOf[K]
  /** One that is there already goes on like this, for connections from now on. */
  configure(listener: ListenerOf[K]): void
}

/** What the settings of listeners of all kinds say. Durations in milliseconds. */
type Settings = Endpoint & {
  readonly backlog: number
  readonly max_connections: number
  readonly max_connections_per_address: number
  readonly pre_auth_timeout: number
  readonly shaper?: 'none' | ListenerOptions['shaper']
  readonly blocked_timeout?: number
}

/** How long a peer may leave output unread where no setting says it, milliseconds. */
const BLOCKED_TIMEOUT = 60_000

/** The address of a listener, and what its connections may take. */
export function listenerOptions(settings: Settings, { workers }: Config): ListenerOptions {
  const { address, shaper = 'none', blocked_timeout = BLOCKED_TIMEOUT } = settings
  return {
    host: address === '*' ? undefined : address,
    port: settings.port,
    backlog: settings.backlog,
    isPortShared: workers > 1,
    shaper: shaper === 'none' ? undefined : shaper,
    maxConnections: settings.max_connections,
    maxConnectionsPerAddress: settings.max_connections_per_address,
    preAuthTimeout: settings.pre_auth_timeout,
    blockedTimeout: blocked_timeout,
  }
}

/** What becomes of STARTTLS (RFC 6120 §5) by the `tls` of a listener. */
export const START_TLS = {
  required: 'required',
  starttls: 'offered',
  direct: 'none',
  none: 'none',
} as const

type Open = { readonly wanted: WantedListener; readonly listener: Listener }

/**
 * A listener whose address stays goes on, with all its connections, whatever else of it changes. One that
 * is no longer wanted accepts nobody any more; who is connected stays until the connection ends.
 */
export class Listeners {
  #open: readonly Open[] = []
  /** They wait for their last connections to end. */
  readonly #retired = new Set<Listener>()

  /** In the order of the configuration. */
  of<K extends Kind>(kind: K): readonly ListenerOf[K][] {
    const own = this.#open.filter(({ wanted }) => wanted.kind === kind)
    return own.map(({ listener }) => listener as ListenerOf[K])
  }

  /** With those that only have connections left. */
  get all(): readonly Listener[] {
    return [...this.#open.map(({ listener }) => listener), ...this.#retired]
  }

  /** New ones have their addresses when this resolves, if `isRunning`. */
  async prepare(all: readonly WantedListener[], isRunning: boolean): Promise<Step> {
    const before = this.#open
    const left = [...before]
    const kept: Open[] = []
    const added: Open[] = []
    const after = all.map((wanted) => {
      const same = left.findIndex((open) => isSame(open.wanted, wanted))
      if (same < 0) {
        const open = { wanted, listener: wanted.make() as Listener }
        added.push(open)
        return open
      }
      const [{ listener }] = left.splice(same, 1) as [Open]
      const open = { wanted, listener }
      kept.push(open)
      return open
    })
    // Their addresses are free once another listener of ours has gone.
    const late = added.filter(({ wanted }) =>
      left.some((open) => overlap(placeOf(open), wanted.endpoint)),
    )
    const abandon = async () => {
      for (const { listener } of added) listener.stopListening()
      for (const { listener } of added) listener.destroy()
    }
    if (isRunning) {
      try {
        for (const open of added) if (!late.includes(open)) await open.listener.bind()
      } catch (error) {
        await abandon()
        throw error
      }
    }
    return {
      abandon,
      commit: () => {
        for (const open of kept) configure(open)
        this.#open = after
      },
      settle: async () => {
        if (!isRunning) return
        if (late.length > 0) await takeOver(left, late)
        for (const { listener } of added) listener.admit()
      },
      revert: () => {
        for (const open of before) configure(open)
        this.#open = before
      },
      finish: async () => {
        for (const { listener } of left) this.#retire(listener)
      },
    }
  }

  #retire(listener: Listener): void {
    listener.stopListening()
    this.#retired.add(listener)
    void listener.drained().then(() => this.#retired.delete(listener))
  }
}

/** Where it is: with the port that it got, if any free one would do. */
function placeOf({ wanted, listener }: Open): Endpoint {
  const { address } = wanted.endpoint
  return listener.isListening ? { address, port: listener.address.port } : wanted.endpoint
}

function configure({ wanted, listener }: Open): void {
  // Whoever made the listener knows its kind.
  wanted.configure(listener as never)
}

function isSame(a: WantedListener, b: WantedListener): boolean {
  const { address, port } = a.endpoint
  return a.kind === b.kind && address === b.endpoint.address && port === b.endpoint.port
}

/** For a moment nobody listens there; if `late` cannot have it, those before take it back. */
async function takeOver(leaving: readonly Open[], late: readonly Open[]): Promise<void> {
  const inTheWay = leaving.filter((open) =>
    late.some(({ wanted }) => overlap(placeOf(open), wanted.endpoint)),
  )
  for (const { listener } of inTheWay) listener.stopListening()
  try {
    for (const { listener } of late) await listener.bind()
  } catch (error) {
    for (const { listener } of late) listener.stopListening()
    for (const { listener } of inTheWay) await listener.listen()
    throw error
  }
}
