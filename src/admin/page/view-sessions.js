import { ask } from './api.js'
import { askFor } from './dialog.js'
import { el, NO_PROSE, say } from './dom.js'
import { domainChoice } from './domain-choice.js'
import { since } from './format.js'
import { repeat } from './live.js'
import { table } from './table.js'

const LIMIT = 200
const EVERY_MS = 3_000

export const sessions = {
  id: 'sessions',
  title: 'Sessions',
  needs: ['session list'],
  mount(root, { self, may, tell, signal }) {
    const kick = ({ jid }) =>
      askFor({
        title: 'End this session?',
        text: `${jid} is disconnected. Its client does not come back by itself.`,
        button: 'End session',
        isDangerous: true,
        async act() {
          await ask('session kick', { jid })
          tell(`${jid}: session ended`)
          again()
        },
      })
    const grid = table({
      caption: 'Sessions',
      none: 'No sessions.',
      key: ({ jid }) => jid,
      columns: [
        { name: 'Resource', isMain: true, text: ({ jid }) => jid },
        {
          name: 'Priority',
          text: ({ priority }) => (priority === null ? 'not available' : String(priority)),
        },
        { name: 'Node', isOptional: true, text: ({ node }) => node },
        {
          name: 'Connection',
          text: ({ connection, is_connected }) =>
            is_connected === false ? 'interrupted, may be resumed' : connection,
        },
        { name: 'Address', text: ({ address }) => address },
        { name: 'Mechanism', text: ({ mechanism }) => mechanism },
        { name: 'For', text: ({ opened_at }) => since(opened_at) },
      ],
      actions: may('session kick')
        ? ({ jid }) => [
            { name: 'End', about: `End the session ${jid}`, isDangerous: true, act: kick },
          ]
        : undefined,
    })
    const search = el('input', { type: 'search', name: 'search', ...NO_PROSE })
    const domain = domainChoice(self, () => again())
    const state = el('p.note')
    root.append(
      el(
        'form.bar',
        { role: 'search', onsubmit: (event) => event.preventDefault() },
        el('label', {}, 'Search', search),
        domain.root,
      ),
      state,
      el('section.card', {}, grid.root),
    )
    let asked = 0
    const again = repeat(EVERY_MS, signal, async () => {
      const turn = ++asked
      const wanted = { search: search.value, ...domain.args(), limit: LIMIT + 1 }
      try {
        const found = (await ask('session list', wanted, signal)).sessions
        if (turn !== asked) return
        const isMore = found.length > LIMIT
        grid.show(found.slice(0, LIMIT))
        say(
          state,
          isMore ? `The first ${LIMIT}; search to see others.` : `${found.length} connected`,
        )
      } catch (error) {
        if (!signal.aborted) say(state, error.message)
      }
    })
    search.addEventListener('input', () => again())
  },
}
