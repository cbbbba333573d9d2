/** What there is to count on a server, and where it stands. */
import { isLocalSession } from './core/session.ts'
import { SOFTWARE } from './core/software.ts'
import type { Stage } from './core/stages.ts'
import type { StorageLoad } from './core/storage.ts'
import type { Sample, Source } from './metrics/index.ts'
import type { Server } from './server.ts'

export function metricSources(server: Server): Source[] {
  return [...ofServer(server), ...ofStanzas(server), ...ofConnections(server), ...ofStorage(server)]
}

function ofServer(server: Server): Source[] {
  return [
    {
      name: 'meerkat_info',
      help: 'Always 1; the labels say what runs.',
      kind: 'gauge',
      labels: ['version', 'node'],
      read: () => [
        { labels: { version: SOFTWARE.version, node: process.versions.node }, value: 1 },
      ],
    },
    {
      name: 'meerkat_start_time_seconds',
      help: 'When the server began to serve, seconds since the epoch.',
      kind: 'gauge',
      labels: [],
      read: () => [{ value: server.startedAt / 1000 }],
    },
    {
      name: 'meerkat_sessions',
      help: 'Connected resources of this node, by domain.',
      kind: 'gauge',
      labels: ['domain'],
      read: () => sessionsByDomain(server),
    },
    {
      name: 'meerkat_modules',
      help: 'Modules that run.',
      kind: 'gauge',
      labels: [],
      read: () => [{ value: server.modules.modules.length }],
    },
  ]
}

function sessionsByDomain({ domains, sessionManager }: Server): Sample[] {
  const counts = new Map(domains.names.map((domain) => [domain, 0]))
  for (const session of sessionManager.sessions.values()) {
    if (!isLocalSession(session)) continue
    const { jid } = session
    counts.set(jid.domain, (counts.get(jid.domain) ?? 0) + 1)
  }
  return [...counts].map(([domain, value]) => ({ labels: { domain }, value }))
}

function ofStanzas({ router, hooks }: Server): Source[] {
  return [
    {
      name: 'meerkat_stanzas_received_total',
      help: 'Stanzas whose fate was decided, by where they came from and their kind.',
      kind: 'counter',
      labels: ['from', 'kind'],
      read: () => byTwo(router.counts.received, 'from', 'kind'),
    },
    {
      name: 'meerkat_stanzas_sent_total',
      help: 'Stanzas written to connections, by who has these and their kind.',
      kind: 'counter',
      labels: ['to', 'kind'],
      read: () => byTwo(router.counts.sent, 'to', 'kind'),
    },
    {
      name: 'meerkat_outcomes_total',
      help: 'What became of stanzas, and who decided that.',
      kind: 'counter',
      labels: ['by', 'fate'],
      read: () => byTwo(Object.fromEntries(router.outcomes), 'by', 'fate').filter(isMore),
    },
    {
      name: 'meerkat_stage_stanzas_total',
      help: 'Stanzas that reached each stage of the route; routing modules are stages, too.',
      kind: 'counter',
      labels: ['stage'],
      read: () => byStage(router.stages.all, ({ stanzas }) => stanzas),
    },
    {
      name: 'meerkat_stage_timed_stanzas_total',
      help: 'Those of them that somebody followed, so that they were timed.',
      kind: 'counter',
      labels: ['stage'],
      read: () => byStage(router.stages.all, ({ timed }) => timed),
    },
    {
      name: 'meerkat_stage_seconds_total',
      help: 'What these took, together with all stages behind.',
      kind: 'counter',
      labels: ['stage'],
      read: () => byStage(router.stages.all, ({ milliseconds }) => milliseconds / 1_000),
    },
    {
      name: 'meerkat_hook_runs_total',
      help: 'How often each handler of a hook ran.',
      kind: 'counter',
      labels: ['hook', 'by'],
      read: () => byHandler(hooks.all, ({ runs }) => runs),
    },
    {
      name: 'meerkat_hook_failures_total',
      help: 'How often each handler of a hook failed.',
      kind: 'counter',
      labels: ['hook', 'by'],
      read: () => byHandler(hooks.all, ({ failures }) => failures).filter(isMore),
    },
  ]
}

function byStage(stages: readonly Stage[], count: (stage: Stage) => number): Sample[] {
  return stages.map((stage) => ({ labels: { stage: stage.name }, value: count(stage) }))
}

function isMore({ value }: Sample): boolean {
  return value > 0
}

function byTwo(
  table: Readonly<Record<string, Readonly<Record<string, number>>>>,
  outer: string,
  inner: string,
): Sample[] {
  return Object.entries(table).flatMap(([first, row]) =>
    Object.entries(row).map(([second, value]) => ({
      labels: { [outer]: first, [inner]: second },
      value,
    })),
  )
}

type Handler = {
  readonly hook: string
  readonly by: string
  readonly runs: number
  readonly failures: number
}

/** A module may have several handlers of one hook. */
function byHandler(all: readonly Handler[], count: (handler: Handler) => number): Sample[] {
  const samples = new Map<string, { labels: Record<string, string>; value: number }>()
  for (const handler of all) {
    const { hook, by } = handler
    const key = `${hook} ${by}`
    const sample = samples.get(key) ?? { labels: { hook, by }, value: 0 }
    sample.value += count(handler)
    samples.set(key, sample)
  }
  return [...samples.values()]
}

function ofConnections(server: Server): Source[] {
  const links = () => [...(server.federation?.links ?? [])].map(({ status }) => status)
  const sum = (values: readonly number[]) => [{ value: values.reduce((a, b) => a + b, 0) }]
  return [
    {
      name: 'meerkat_connections',
      help: 'Connections that are open, by who connects there.',
      kind: 'gauge',
      labels: ['listener'],
      read: () => {
        const { listeners, serverListeners, componentListeners, httpListeners } = server
        const kinds = {
          c2s: listeners,
          s2s: serverListeners,
          component: componentListeners,
          http: httpListeners,
        }
        return Object.entries(kinds).map(([listener, all]) => ({
          labels: { listener },
          value: all.reduce((count, { connectionCount }) => count + connectionCount, 0),
        }))
      },
    },
    {
      name: 'meerkat_components',
      help: 'Connections of external components to this node.',
      kind: 'gauge',
      labels: [],
      read: () => sum([...server.components.connections].map(({ isLocal }) => Number(isLocal))),
    },
    {
      name: 'meerkat_s2s_links',
      help: 'Ways to other servers, by their state.',
      kind: 'gauge',
      labels: ['state'],
      read: () => {
        const counts = { open: 0, connecting: 0, waiting: 0, idle: 0 }
        for (const { state } of links()) counts[state]++
        return Object.entries(counts).map(([state, value]) => ({ labels: { state }, value }))
      },
    },
    {
      name: 'meerkat_s2s_waiting_stanzas',
      help: 'Stanzas that wait for a connection to another server.',
      kind: 'gauge',
      labels: [],
      read: () => sum(links().map(({ waiting }) => waiting)),
    },
    {
      name: 'meerkat_s2s_unacknowledged_stanzas',
      help: 'Stanzas sent to other servers whose arrival is not known.',
      kind: 'gauge',
      labels: [],
      read: () => sum(links().map(({ unacknowledged }) => unacknowledged)),
    },
  ]
}

function ofStorage({ storage }: Server): Source[] {
  const number = (of: (load: StorageLoad) => number) => () => [{ value: of(storage.load) }]
  return [
    {
      name: 'meerkat_storage_waiting_requests',
      help: 'Requests that the storage has not answered yet.',
      kind: 'gauge',
      labels: [],
      read: number(({ waiting }) => waiting),
    },
    {
      name: 'meerkat_storage_waiting_bytes',
      help: 'What these take up in memory.',
      kind: 'gauge',
      labels: [],
      read: number(({ waitingBytes }) => waitingBytes),
    },
    {
      name: 'meerkat_storage_batches_total',
      help: 'Groups of requests that the storage answered together, commit included.',
      kind: 'counter',
      labels: [],
      read: number(({ batches }) => batches),
    },
    {
      name: 'meerkat_storage_batch_seconds_total',
      help: 'What these took altogether, until they were answered.',
      kind: 'counter',
      labels: [],
      read: number(({ seconds }) => seconds),
    },
  ]
}
