"""From rules, interlocks and alarms to programs over the image; the kernel that runs them; why."""
