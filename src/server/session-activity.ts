import type { Cluster } from '../core/cluster.ts'
import { isLocalSession } from '../core/session.ts'
import type { Sessions } from '../core/sessions.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** Accounts with a client of that node that has sent a message or presence within so many milliseconds. */
    active_accounts: {
      readonly question: { readonly domain: string | null; readonly within: number }
      readonly answer: readonly string[]
    }
  }
}

type Wanted = {
  /** Only its accounts; of all domains if absent. */
  readonly domain?: string | undefined
  /** Milliseconds. */
  readonly within: number
}

/**
 * Who does something, of those who are connected: only the node that a client is at knows. Answers to
 * pings and the like are the client's own and do not count.
 */
export class SessionActivity {
  readonly #sessions: Sessions
  readonly #cluster: Cluster

  constructor(sessions: Sessions, cluster: Cluster) {
    this.#sessions = sessions
    this.#cluster = cluster
    cluster.on('active_accounts', ({ domain, within }) => [
      ...this.#here({ domain: domain ?? undefined, within }),
    ])
  }

  /** Bare JIDs as text. A node that does not answer has nobody. */
  async active({ domain, within }: Wanted): Promise<ReadonlySet<string>> {
    const others = this.#cluster.nodes.filter(({ isSelf, state }) => !isSelf && state !== 'gone')
    const question = { domain: domain ?? null, within }
    const answers = await Promise.allSettled(
      others.map(({ node }) => this.#cluster.ask(node, 'active_accounts', question)),
    )
    const elsewhere = answers.flatMap((answer) =>
      answer.status === 'fulfilled' ? answer.value : [],
    )
    return new Set([...this.#here({ domain, within }), ...elsewhere])
  }

  #here({ domain, within }: Wanted): ReadonlySet<string> {
    const since = Date.now() - within
    const active = new Set<string>()
    for (const session of this.#sessions.values()) {
      if (!isLocalSession(session) || session.lastAction < since) continue
      if (domain === undefined || session.jid.domain === domain) active.add(session.jid.bare)
    }
    return active
  }
}
