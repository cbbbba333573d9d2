import type { Listening } from '../admin/commands/server.ts'
import type { Listener } from '../connection/listener.ts'
import type { Server } from '../server.ts'

/** Where it listens; the ports are those it got. For a server that was started. */
export function listenersOf(server: Server): Listening[] {
  const { config, listeners, serverListeners, componentListeners, httpListeners } = server
  const { c2s, s2s, component, http } = config.listen
  return [
    ...listening('c2s', c2s, listeners),
    ...listening('s2s', s2s, serverListeners),
    ...listening('component', component, componentListeners),
    ...listening('http', http, httpListeners),
  ]
}

function listening(
  kind: string,
  settings: readonly { readonly address: string; readonly tls: string }[],
  listeners: readonly Pick<Listener, 'address'>[],
): Listening[] {
  return settings.flatMap(({ address, tls }, i) => {
    const bound = listeners[i]?.address
    if (bound === undefined) return []
    return [{ kind, address: address === '*' ? bound.host : address, port: bound.port, tls }]
  })
}
