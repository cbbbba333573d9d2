/** Where HTTP is spoken, made from the settings: which services, on which address. */
import { httpApi } from './admin/http-api.ts'
import { adminPage } from './admin/page.ts'
import { streams } from './admin/streams.ts'
import { endpoint } from './config/listeners.ts'
import type { HttpListener as Settings } from './config.ts'
import type { HttpService } from './core/http.ts'
import { SOFTWARE } from './core/software.ts'
import { within } from './core/within.ts'
import { health } from './http/health.ts'
import { HttpListener } from './http/server.ts'
import { metrics } from './metrics/index.ts'
import type { Server } from './server.ts'
import { adminContext, commandsOf } from './server-admin.ts'
import { metricSources } from './server-metrics.ts'

type Service = Settings['services'][number]

/** How long the storage may take to answer and still be called ready, milliseconds. */
const STORAGE_PATIENCE = 2_000

export function httpListener(settings: Settings, server: Server): HttpListener {
  const { certificates, log } = server
  const services = servicesOf(server)
  const { address, port, tls, max_connections, max_connections_per_address } = settings
  return new HttpListener({
    host: address === '*' ? undefined : address,
    port,
    maxConnections: max_connections,
    maxConnectionsPerAddress: max_connections_per_address,
    ...(tls === 'direct' && {
      secure: (socket) => certificates.secure(socket, { isDirect: false }),
    }),
    services: settings.services.map((name) => services[name]()),
    log: log.child({ listener: endpoint({ address, port }) }),
  })
}

function servicesOf(server: Server): Readonly<Record<Service, () => HttpService>> {
  const { config, tokens, log } = server
  return {
    api: () =>
      httpApi({
        commands: commandsOf(server),
        streams,
        context: adminContext(server, SOFTWARE.version),
        tokens,
        requestsPerMinute: config.admin.requests_per_minute,
        log,
      }),
    page: adminPage,
    metrics: () => {
      const { workerMetrics } = server
      return metrics(metricSources(server), workerMetrics && (() => workerMetrics.all()))
    },
    health: () => health({ problems: () => problemsOf(server) }),
  }
}

async function problemsOf(server: Server): Promise<readonly string[]> {
  if (!server.isServing) return ['the server is starting or stopping']
  let isThere = false
  const asked = server.storage.read('select 1 as one', []).then(
    () => {
      isThere = true
    },
    () => {},
  )
  await within(STORAGE_PATIENCE, asked)
  return isThere ? [] : ['the storage does not answer']
}
