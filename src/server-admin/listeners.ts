import type { Listening } from '../admin/commands/server.ts'
import type { Listener } from '../connection/listener.ts'
import type { Server } from '../server.ts'

/** Where it listens; the ports are those it got. For a server that was started. */
export function listenersOf(server: Server): Listening[] {
  const { config, listeners, serverListeners, componentListeners } = server
  const { c2s, s2s, component } = config.listen
  return [
    ...listening('c2s', c2s, listeners),
    ...listening('s2s', s2s, serverListeners),
    ...listening('component', component, componentListeners),
  ]
}

function listening(
  kind: string,
  settings: readonly { readonly address: string; readonly tls: string }[],
  listeners: readonly Listener[],
): Listening[] {
  return settings.flatMap(({ address, tls }, i) => {
    const bound = listeners[i]?.address
    if (bound === undefined) return []
    return [{ kind, address: address === '*' ? bound.host : address, port: bound.port, tls }]
  })
}
