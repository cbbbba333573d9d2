import { ask } from './api.js'
import { askFor } from './dialog.js'
import { el, say } from './dom.js'
import { domainChoice } from './domain-choice.js'
import { badge, table } from './table.js'

const PAGE = 50

export const accounts = {
  id: 'accounts',
  title: 'Accounts',
  needs: ['account list'],
  mount(root, { self, may, tell, signal }) {
    /** Localparts that the pages before this one ended with; a page begins behind the last. */
    let ends = []
    let asked = 0

    const change = (command, done, options) => (row) =>
      askFor({
        ...options(row),
        async act(values) {
          await ask(command, { jid: row.jid, ...values })
          tell(`${row.jid} ${done}`)
          await load()
        },
      })
    const setPassword = change('account password', 'has a new password', ({ jid }) => ({
      title: 'Set a password',
      text: jid,
      button: 'Set password',
      fields: [NEW_PASSWORD],
    }))
    const disable = change('account disable', 'is disabled', ({ jid }) => ({
      title: 'Disable this account?',
      text: `${jid}: its sessions end, nobody logs in, messages wait.`,
      button: 'Disable',
      isDangerous: true,
    }))
    const enable = change('account enable', 'is enabled', ({ jid }) => ({
      title: 'Enable this account?',
      text: `${jid} may log in again.`,
      button: 'Enable',
    }))
    const remove = change('account remove', 'is removed', ({ jid }) => ({
      title: 'Remove this account?',
      text: `${jid} is removed with everything kept for it: roster, messages, archive. There is no way back.`,
      button: 'Remove for good',
      isDangerous: true,
    }))
    const actions = ({ jid, isDisabled }) =>
      [
        {
          command: 'account password',
          name: 'Password',
          about: `Set the password of ${jid}`,
          act: setPassword,
        },
        isDisabled
          ? { command: 'account enable', name: 'Enable', about: `Enable ${jid}`, act: enable }
          : { command: 'account disable', name: 'Disable', about: `Disable ${jid}`, act: disable },
        {
          command: 'account remove',
          name: 'Remove',
          about: `Remove ${jid}`,
          isDangerous: true,
          act: remove,
        },
      ].filter(({ command }) => may(command))
    const grid = table({
      caption: 'Accounts',
      none: 'No accounts.',
      key: ({ jid }) => jid,
      columns: [
        { name: 'Account', isMain: true, text: ({ jid }) => jid },
        {
          name: 'State',
          show: badge(({ isDisabled }) => (isDisabled ? 'disabled' : 'enabled')),
        },
      ],
      actions: may('account remove') ? actions : undefined,
    })

    const register = () =>
      askFor({
        title: 'Register an account',
        button: 'Register',
        fields: [{ name: 'jid', label: 'Account', value: `@${domain.value}` }, NEW_PASSWORD],
        async act({ jid, password }) {
          const made = await ask('account register', { jid, password })
          tell(`${made.jid} is registered`)
          await load()
        },
      })
    const domain = domainChoice({ ...self, domains: self.hosted }, () => {
      ends = []
      void load()
    })
    const turn = (name, act) => el('button', { type: 'button', onclick: act }, name)
    const previous = turn('Previous', () => {
      ends = ends.slice(0, -1)
      void load()
    })
    const next = turn('Next', () => {
      ends = [...ends, last]
      void load()
    })
    let last = ''
    const state = el('p.note')
    root.append(
      el(
        'div.bar',
        {},
        domain.root,
        may('account register')
          ? el('button.solid', { type: 'button', onclick: register }, 'Register an account')
          : undefined,
      ),
      state,
      el('section.card', {}, grid.root),
      el('div.buttons', {}, previous, next),
    )

    async function load() {
      const wanted = { domain: domain.value, ...(ends.length > 0 && { after: ends.at(-1) }) }
      const turn = ++asked
      try {
        const [all, locked] = await Promise.all([
          ask('account list', { ...wanted, limit: PAGE + 1 }, signal),
          // Of as many, these are at least those of this page.
          ask('account list', { ...wanted, disabled: true, limit: PAGE }, signal),
        ])
        if (turn !== asked) return
        const rows = all.accounts.slice(0, PAGE)
        const disabled = new Set(locked.accounts)
        last = rows.at(-1)?.slice(0, rows.at(-1).lastIndexOf('@')) ?? ''
        grid.show(rows.map((jid) => ({ jid, isDisabled: disabled.has(jid) })))
        const isPaged = ends.length > 0 || all.accounts.length > PAGE
        previous.hidden = next.hidden = !isPaged
        previous.disabled = ends.length === 0
        next.disabled = all.accounts.length <= PAGE
        say(state, '')
      } catch (error) {
        if (!signal.aborted) say(state, error.message)
      }
    }
    void load()
  },
}

const NEW_PASSWORD = {
  name: 'password',
  label: 'Password',
  type: 'password',
  autocomplete: 'new-password',
}
