import { ask } from './api.js'
import { el, say } from './dom.js'
import { count } from './format.js'
import { table } from './table.js'

export const modules = {
  id: 'modules',
  title: 'Modules',
  needs: ['module list', 'hook list'],
  async mount(root, { may, signal }) {
    const loaded = table({
      caption: 'Modules',
      none: 'No modules.',
      key: ({ name }) => name,
      columns: [
        { name: 'Module', isMain: true, text: ({ name }) => name },
        { name: 'Implements', text: (row) => row.implements.join(', ') || '–' },
        { name: 'Settings', show: showSettings },
      ],
    })
    const handlers = table({
      caption: 'Handlers of hooks, in the order in which they run',
      none: 'No handlers.',
      key: ({ place }) => String(place),
      columns: [
        { name: 'Hook', isMain: true, text: ({ hook }) => hook },
        { name: 'Module', text: ({ by }) => by },
        { name: 'Order', isNumber: true, text: ({ order }) => String(order) },
        { name: 'If it fails', text: ({ on_error }) => on_error },
        { name: 'Runs', isNumber: true, text: ({ runs }) => count(runs) },
        { name: 'Failures', isNumber: true, text: ({ failures }) => count(failures) },
      ],
    })
    const problem = el('p.problem')
    root.append(
      problem,
      el('section.card', {}, el('h2', {}, 'Modules'), loaded.root),
      el('section.card', {}, el('h2', {}, 'Handlers of hooks'), handlers.root),
    )
    try {
      if (may('module list')) loaded.show((await ask('module list', {}, signal)).modules)
      if (!may('hook list')) return
      const all = (await ask('hook list', {}, signal)).handlers
      handlers.show(all.map((handler, place) => ({ ...handler, place })))
    } catch (error) {
      if (!signal.aborted) say(problem, error.message)
    }
  },
}

function showSettings(cell, { name, settings }) {
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}`)
  if (lines.length === 0) return say(cell, '–')
  cell.replaceChildren(
    el(
      'details',
      {},
      el('summary', { 'aria-label': `${lines.length} settings of ${name}` }, String(lines.length)),
      el('pre', { tabindex: '0', 'aria-label': `Settings of ${name}` }, lines.join('\n')),
    ),
  )
}
