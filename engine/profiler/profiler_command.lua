-- `perigee profile FILE`: what the command line calls (cli/profile.cpp).
local core, kit = ...
local profiler = kit.profiler
local format = string.format

local titles = { trace = "calls", sample = "samples", lines = "lines", jit = "compilation", memory = "memory", ops = "operations", timeline = "timeline" }

-- Runs a script under a profile, and prints the profile or writes it to a file. `options`: {file, mode = "trace" |
-- "sample" | "lines" | "jit" | "memory" | "ops" | "timeline", functions = names for lines, sampled (lines), sort, out, format, plain_seconds = a function that runs the script once
-- more, without a profiler, for at most so many seconds, and returns how long it took, negative where it did not end well};
-- the rest are the script's own arguments. An error of the script is raised again when the profile up to there is out.
function profiler._command(options, ...)
  local text, reason = core.read_script(options.file)
  if not text then
    core.fail("%s", reason)
  end
  if string.sub(text, 1, 1) == "#" then
    text = "--" .. text -- a #! line
  end
  local chunk, message, file, line = core.load_script(text, options.file)
  if not chunk then
    error(format("%s:%d: %s", file, line, message), 0)
  end
  if options.out and options.mode ~= "ops" and options.mode ~= "timeline" then -- before the script runs for minutes
    kit.checked_format(options.out, options.format)
  end
  core.set_global("arg", { [0] = options.file, ... })
  -- A script that ends itself has a profile all the same.
  local library, exited = rawget(core.env, "os"), nil
  local exit = library and rawget(library, "exit")
  if exit then
    library.exit = function(code)
      exited = { code }
      error("os.exit", 0)
    end
  end
  local profile, ok, failure
  if options.mode == "lines" then
    profile = profiler.lines { sampled = options.sampled or false }
    profile.names = options.functions
    ok, failure = pcall(profile.run, profile, chunk, ...)
  else
    profiler.last = nil
    ok, failure = pcall(profiler[options.mode], chunk, ...)
    profile = profiler.last
  end
  if exit then
    library.exit = exit
  end
  if profile and exited then
    profile.failure = nil
  end
  if profile then
    if ok and options.plain_seconds then
      local seconds = options.plain_seconds(2 * profile.wall + 1)
      profile.real = seconds >= 0 and seconds or nil
    end
    profile.title = format("%s: %s", options.file, titles[options.mode])
    if options.out then
      profile:write(options.out, options.format)
      core.write(format("wrote %s\n", options.out))
    else
      core.write(profile:text { sort = options.sort } .. "\n")
    end
  end
  if exited then
    exit(exited[1], true)
  elseif not ok then
    error(failure, 0)
  end
end
