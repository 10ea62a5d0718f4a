"""What kinds of trained models answer phrases: role -> class, loaded when asked for."""

ROLES = {
    "teacher": "commands.answering.teacher:TeacherAnswers",
    "map_teacher": "commands.answering.map_teacher:MapTeacherAnswers",
    "student": "commands.answering.student:StudentAnswers",
}
