-- The program at its command line: the prompt, and what `run` refuses. Run by the shipped binary, which it starts again.
local lu = require "luaunit"

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local perigee = output_of("readlink /proc/$PPID/exe"):gsub("\n", "")

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- What the prompt answers to these lines, errors included.
local function typed(lines)
  return output_of("printf %s " .. quoted(lines) .. " | " .. quoted(perigee) .. " repl 2>&1")
end

--- What `perigee run [options]` says of a script with this text, errors included, and last its exit code.
local function run(script, options)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(script)
  file:close()
  local text = output_of(quoted(perigee) .. " run " .. (options or "") .. " " .. name .. " 2>&1; echo $?")
  os.remove(name)
  return text
end

TestPrompt = {}

function TestPrompt:test_shows_values_and_keeps_locals()
  lu.assertEquals(typed('local x = 3\nx, "a"\nfor i = 1, 2 do\nprint(i)\nend\n'), '3\t"a"\n1\n2\n')
end

function TestPrompt:test_an_unfinished_expression_goes_on()
  lu.assertEquals(typed("1 +\n2\n= 2 *\n(3\n)\n"), "3\n6\n")
end

function TestPrompt:test_errors_name_the_line()
  lu.assertStrContains(typed("1\nfoo\n"), "stdin:2:1: 'foo' is not defined")
  lu.assertStrContains(typed("foo -- with a comment\n"), "'foo' is not defined")
  lu.assertStrContains(typed("1 -- with a comment\n"), "1\n")
end

function TestPrompt:test_exit_and_quit_leave_and_help_helps()
  lu.assertEquals(typed("exit\nprint(1)\n"), "")
  lu.assertEquals(typed("quit()\nprint(1)\n"), "")
  lu.assertStrContains(typed("help\n"), "Ctrl-D leaves")
  lu.assertEquals(typed("exit = 5\nexit\n"), "5\n") -- the user's own name wins
end

TestCommands = {}

local function perigee_says(arguments)
  return output_of(quoted(perigee) .. " " .. arguments .. " 2>&1; echo $?")
end

function TestCommands:test_help_is_a_command_too()
  lu.assertEquals(perigee_says("help"), perigee_says("--help"))
  lu.assertEquals(perigee_says("help check"), perigee_says("check --help"))
  lu.assertStrMatches(perigee_says("help chekc"), '.*there is no command "chekc"; did you mean check%?.*\n2\n')
end

function TestCommands:test_words_of_other_programs_are_understood()
  lu.assertStrMatches(perigee_says("hint"), ".*perigee show ID %-%-hints 1.*\n2\n")
  lu.assertStrMatches(perigee_says("test arrays/pairwise"), ".*perigee check ID.*\n2\n")
  lu.assertStrMatches(perigee_says("--exercises /nowhere list"), ".*options after the command.*\n2\n")
  lu.assertStrMatches(perigee_says("show arrays/pairwise --hints -1"), ".*a number of hints is expected, not %-1.*\n2\n")
end

TestRun = {}

function TestRun:test_what_scripts_lack_is_named()
  lu.assertStrContains(run("os.exit(0)"), ":1: 'os.exit' is not defined here")
  lu.assertStrContains(run("local f = io.open('x')"), "`perigee run --trusted` has it")
  lu.assertEquals(run("print(os.nothing, type(os.time()), type(io.write))"), "nil\tnumber\tfunction\n0\n")
end

function TestRun:test_options_are_refused_in_words()
  lu.assertStrContains(run("", "--memory x"), "a number of MiB above 0 is expected, not x")
  lu.assertStrContains(run("", "--memory 0"), "above 0")
  lu.assertEquals(run("print(1)", "--memory 64"), "1\n0\n")
end

-- The README's example is a solution: it says what the reference says.
TestReadme = {}

function TestReadme:test_example_is_the_reference()
  local root = arg[0]:match("^(.*)/tests/lua/[^/]+$")
  local function solve_of(path)
    local file = assert(io.open(root .. path))
    local text = file:read("*a")
    file:close()
    return text:match("local function solve%(x%).-\nend\n")
  end
  lu.assertEquals(solve_of("/README.md"), solve_of("/solutions/arrays/elementwise/reference.lua"))
end

os.exit(lu.LuaUnit.run(), true)
