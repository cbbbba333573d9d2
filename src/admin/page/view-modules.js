import { ask } from './api.js'
import { el, NO_PROSE, say } from './dom.js'
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
        { name: 'Implements', show: once(showSpecifications) },
        { name: 'Settings', show: once(showSettings) },
      ],
    })
    const handlers = table({
      caption: 'Handlers of hooks, in the order in which they run',
      none: 'No handlers.',
      isCompact: true,
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
    const search = el('input', { type: 'search', name: 'search', ...NO_PROSE })
    const problem = el('p.problem')
    root.append(
      el(
        'form.bar',
        { role: 'search', onsubmit: (event) => event.preventDefault() },
        el('label', {}, 'Module or hook', search),
      ),
      problem,
      el('section.card', {}, el('h2', {}, 'Modules'), loaded.root),
      el('section.card', {}, el('h2', {}, 'Handlers of hooks'), handlers.root),
    )
    let allModules = []
    let allHandlers = []
    const show = () => {
      const wanted = search.value.trim().toLowerCase()
      const isWanted = (...names) => names.some((name) => name.toLowerCase().includes(wanted))
      loaded.show(allModules.filter((row) => isWanted(row.name, ...row.implements)))
      handlers.show(allHandlers.filter(({ hook, by }) => isWanted(hook, by)))
    }
    search.addEventListener('input', show)
    try {
      if (may('module list')) allModules = (await ask('module list', {}, signal)).modules
      show()
      if (!may('hook list')) return
      const all = (await ask('hook list', {}, signal)).handlers
      allHandlers = all.map((handler, place) => ({ ...handler, place }))
      show()
    } catch (error) {
      if (!signal.aborted) say(problem, error.message)
    }
  },
}

/** They stay as they are, and what was opened stays open. */
const once = (show) => (cell, row) => {
  if (!cell.hasChildNodes()) show(cell, row)
}

function showSpecifications(cell, row) {
  const names = row.implements.flatMap((name, i) => [i > 0 ? ', ' : '', el('span.whole', {}, name)])
  cell.replaceChildren(el('span', {}, ...(names.length > 0 ? names : ['–'])))
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
