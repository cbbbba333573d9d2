import { ask } from './api.js'
import { askFor } from './dialog.js'
import { el, say } from './dom.js'
import { count } from './format.js'
import { repeat } from './live.js'
import { badge, table } from './table.js'

const EVERY_MS = 3_000

export const connections = {
  id: 'connections',
  title: 'Connections',
  needs: ['component list', 's2s list', 'cluster status'],
  mount(root, { may, tell, signal }) {
    const components = table({
      caption: 'Components',
      none: 'No components are connected.',
      key: ({ id }) => id,
      columns: [
        { name: 'Domains', isMain: true, text: ({ domains }) => domains.join(', ') },
        { name: 'Connection', text: ({ id }) => id },
        { name: 'Node', isOptional: true, text: ({ node }) => node },
        { name: 'Listed', text: ({ hidden }) => (hidden ? 'no' : 'yes') },
      ],
      actions: may('component kick')
        ? ({ id, domains }) => [
            {
              name: 'Close',
              about: `Close the connection ${id} of ${domains.join(', ')}`,
              isDangerous: true,
              act: () =>
                askFor({
                  title: 'Close this connection?',
                  text: `${domains.join(', ')}: the component may connect again.`,
                  button: 'Close connection',
                  isDangerous: true,
                  async act() {
                    await ask('component kick', { service: id })
                    tell(`${domains.join(', ')}: connection closed`)
                    again()
                  },
                }),
            },
          ]
        : undefined,
    })
    const servers = table({
      caption: 'Other servers',
      none: 'No connections to other servers.',
      key: ({ local, remote, node }) => `${local} ${remote} ${node}`,
      columns: [
        { name: 'Server', isMain: true, text: ({ remote }) => remote },
        { name: 'From', text: ({ local }) => local },
        { name: 'Node', isOptional: true, text: ({ node }) => node },
        { name: 'State', show: badge(({ state }) => state) },
        { name: 'Opened by', text: ({ opened_by_us }) => (opened_by_us ? 'us' : 'them') },
        { name: 'Both ways', text: ({ two_way }) => (two_way ? 'yes' : 'no') },
        { name: 'Acknowledged', text: ({ acknowledged }) => (acknowledged ? 'yes' : 'no') },
        { name: 'Waiting', isNumber: true, text: ({ waiting }) => count(waiting) },
        {
          name: 'Unacknowledged',
          isNumber: true,
          text: ({ unacknowledged }) => count(unacknowledged),
        },
      ],
      actions: may('s2s close')
        ? ({ remote }) => [
            {
              name: 'Close',
              about: `Close the connections to ${remote}`,
              isDangerous: true,
              act: () =>
                askFor({
                  title: 'Close these connections?',
                  text: `To ${remote}: what comes later opens new ones.`,
                  button: 'Close connections',
                  isDangerous: true,
                  async act() {
                    await ask('s2s close', { remote })
                    tell(`${remote}: connections closed`)
                    again()
                  },
                }),
            },
          ]
        : undefined,
    })
    const nodes = table({
      caption: 'Nodes of the cluster',
      none: 'No nodes.',
      key: ({ name }) => name,
      columns: [
        {
          name: 'Node',
          isMain: true,
          text: ({ name, is_self }) => (is_self ? `${name} (this one)` : name),
        },
        { name: 'State', show: badge(({ state }) => state) },
        { name: 'Version', text: ({ version }) => version },
        { name: 'Sessions', isNumber: true, text: ({ sessions }) => count(sessions) },
        { name: 'Waiting', isNumber: true, text: ({ waiting }) => count(waiting) },
        {
          name: 'Heard of',
          text: ({ is_self, silent_for }) => (is_self ? '–' : `${count(silent_for)} ms ago`),
        },
      ],
    })
    const problem = el('p.problem')
    const section = (command, title, { root: grid }) =>
      may(command) ? el('section.card', {}, el('h2', {}, title), grid) : undefined
    const parts = [
      section('cluster status', 'Nodes', nodes),
      section('component list', 'Components', components),
      section('s2s list', 'Other servers', servers),
    ]
    root.append(problem, ...parts.filter((part) => part !== undefined))
    const show = async (command, grid, of) => {
      if (may(command)) grid.show(of(await ask(command, {}, signal)))
    }
    const again = repeat(EVERY_MS, signal, async () => {
      try {
        await Promise.all([
          show('cluster status', nodes, (answer) => answer.nodes),
          show('component list', components, (answer) => answer.components),
          show('s2s list', servers, (answer) => answer.connections),
        ])
        say(problem, '')
      } catch (error) {
        if (!signal.aborted) say(problem, error.message)
      }
    })
  },
}
